import KnapJSON

/// Finds what strict clients refuse in a tool's schema: they drop the whole list for one bad schema.
package struct SchemaLint: Sendable, Hashable {
    /// Whether to refuse keywords that MCP allows since 2026-07-28 and the model APIs behind many clients do not take.
    package var isStrict: Bool

    package init(isStrict: Bool = true) { self.isStrict = isStrict }

    /// Deeper than any schema written by hand; a bound for those that are not.
    static let maximumDepth = 32

    func check(_ schema: JSON, _ what: String) throws(Unservable) {
        guard let object = schema.objectValue else { throw Unservable("its \(what) is not an object") }
        guard object["type"]?.stringValue == "object" else {
            throw Unservable("its \(what) must have \"type\": \"object\" at the top")
        }
        let refused = isStrict ? ["anyOf", "oneOf", "allOf", "not", "if", "enum", "$ref"] : []
        for keyword in refused where object[keyword] != nil {
            throw Unservable(
                "its \(what) has \(keyword) at the top, which clients refuse; move it into a property, or set "
                    + "strict_schemas to false where all clients are known to take it")
        }
        try Self.checkParts(of: schema, what)
    }

    /// The same for schemas that may be of any type.
    static func checkParts(of schema: JSON, _ what: String) throws(Unservable) {
        try walk(schema, what, depth: 0)
    }

    private static func walk(_ schema: JSON, _ what: String, depth: Int) throws(Unservable) {
        guard depth <= maximumDepth else { throw Unservable("its \(what) is nested deeper than \(maximumDepth)") }
        guard let object = schema.objectValue else {
            guard schema.boolValue != nil else {
                throw Unservable("a part of its \(what) is neither object nor boolean")
            }
            return
        }
        try checkKeywords(object, what)
        for (keyword, value) in object.members {
            for child in try children(of: keyword, value, what) { try walk(child, what, depth: depth + 1) }
        }
    }

    private static func checkKeywords(_ object: JSONObject, _ what: String) throws(Unservable) {
        if let reference = object["$ref"]?.stringValue, !reference.hasPrefix("#") {
            throw Unservable("its \(what) refers to \(reference); only references within it are followed")
        }
        if let dialect = object["$schema"]?.stringValue, !dialect.contains("2020-12") {
            throw Unservable("its \(what) is written for \(dialect); MCP means JSON Schema 2020-12")
        }
        if object["items"]?.arrayValue != nil {
            throw Unservable("its \(what) gives items as an array; 2020-12 calls that prefixItems")
        }
        for keyword in ["dependencies", "additionalItems"] where object[keyword] != nil {
            throw Unservable("its \(what) uses \(keyword), which 2020-12 no longer has")
        }
    }

    private static func children(of keyword: String, _ value: JSON, _ what: String) throws(Unservable) -> [JSON] {
        switch SchemaKeyword(rawValue: keyword)?.holds {
        case .map:
            guard let object = value.objectValue else { throw Unservable("\(keyword) in its \(what) is not an object") }
            return object.members.map(\.value)
        case .list:
            guard let array = value.arrayValue else { throw Unservable("\(keyword) in its \(what) is not an array") }
            return array
        case .one: return [value]
        case nil: return []
        }
    }
}
