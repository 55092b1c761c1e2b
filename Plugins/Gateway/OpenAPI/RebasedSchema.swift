import KnapJSON
import KnapPlugin

/// A JSON Schema that was a document of its own, as a part of a larger one: what it refers to in itself is found there.
///
/// References into a schema are relative to its document (JSON Schema core, section 8.2). Anchors would be the larger
/// document's, where another schema may have the same, so they become pointers.
package struct RebasedSchema {
    package private(set) var json: JSON = true
    private(set) var refersToItself = false

    private let source: JSON
    /// Where it is to be, as a reference: `#/components/schemas/NAME`.
    private let place: String
    private let what: String
    /// Where in the source each anchor is.
    private var anchors: [String: JSONPointer] = [:]

    /// Throws where the schema cannot be a part of another document.
    package init(_ schema: JSON, at place: String, _ what: String) throws(Unservable) {
        source = schema
        self.place = place
        self.what = what
        try SchemaLint.checkParts(of: schema, what)
        try findAnchors(in: schema, at: JSONPointer())
        json = try moved(schema)
    }

    private mutating func findAnchors(in schema: JSON, at pointer: JSONPointer) throws(Unservable) {
        guard let object = schema.objectValue else { return }
        guard pointer.tokens.isEmpty || object["$id"] == nil else {
            throw Unservable("its \(what) has another schema with an $id of its own in it")
        }
        for keyword in ["$anchor", "$dynamicAnchor"] {
            if let anchor = object[keyword]?.stringValue { anchors[anchor] = pointer }
        }
        for (name, value) in object.members {
            let inner = pointer.appending(name)
            switch SchemaKeyword(rawValue: name)?.holds {
            case .map:
                for member in value.objectValue ?? [:] {
                    try findAnchors(in: member.value, at: inner.appending(member.name))
                }
            case .list:
                for (index, element) in (value.arrayValue ?? []).enumerated() {
                    try findAnchors(in: element, at: inner.appending(index))
                }
            case .one: try findAnchors(in: value, at: inner)
            case nil: break
            }
        }
    }

    private mutating func moved(_ schema: JSON) throws(Unservable) -> JSON {
        guard let object = schema.objectValue else { return schema }
        var moved = JSONObject()
        for (name, value) in object.members {
            switch name {
            case "$id", "$schema", "$anchor", "$dynamicAnchor": continue
            // Without other documents around it, a dynamic reference leads where a plain one does.
            case "$ref", "$dynamicRef": moved["$ref"] = .string(try reference(value))
            default: moved[name] = try movedValue(of: SchemaKeyword(rawValue: name), value)
            }
        }
        return .object(moved)
    }

    private mutating func movedValue(of keyword: SchemaKeyword?, _ value: JSON) throws(Unservable) -> JSON {
        switch keyword?.holds {
        case .map:
            var members = JSONObject()
            for (name, schema) in value.objectValue ?? [:] { members[name] = try moved(schema) }
            return .object(members)
        case .list:
            var elements: [JSON] = []
            for schema in value.arrayValue ?? [] { elements.append(try moved(schema)) }
            return .array(elements)
        case .one: return try moved(value)
        case nil: return value
        }
    }

    private mutating func reference(_ value: JSON) throws(Unservable) -> String {
        guard let text = value.stringValue, text.hasPrefix("#"),
            let fragment = PercentEncoding.decode(text.utf8.dropFirst())
        else { throw Unservable("its \(what) refers to \(value.serialized()), which is not within it") }
        let pointer = fragment.isEmpty || fragment.hasPrefix("/") ? JSONPointer(fragment) : anchors[fragment]
        guard let pointer, let target = source[pointer], target.objectValue != nil || target.boolValue != nil else {
            throw Unservable("its \(what) refers to \(text), where it has no schema")
        }
        refersToItself = true
        return place + PercentEncoding.encode(pointer.description, keeping: "/~!$&'()*+,;=:@?")
    }
}
