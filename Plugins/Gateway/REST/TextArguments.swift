import KnapJSON
import KnapPlugin

/// Makes values of the texts in an address, of the types that a method's input schema gives them.
///
/// A text that is none of its types stays a text: whoever checks the input then says what is wrong with it.
package struct TextArguments {
    /// The method's input schema.
    private let schema: JSON

    package init(schema: JSON) { self.schema = schema }

    /// - Parameter texts: All that the address gives under the name, in order.
    package func value(of name: String, _ texts: [String]) throws(ProblemDetails) -> JSON {
        let property = schema["properties"]?[name] ?? schema["additionalProperties"] ?? true
        let kinds = kinds(of: property)
        if kinds.contains("array"), texts.count > 1 || kinds.isSubset(of: ["array", "null"]) {
            let items = items(of: property)
            let itemKinds = self.kinds(of: items)
            return .array(texts.map { Self.value($0, of: itemKinds) })
        }
        guard texts.count == 1 else {
            throw .badRequest("The parameter \(name) is given \(texts.count) times, and has one value.")
        }
        return Self.value(texts[0], of: kinds)
    }

    /// The first type that the text is one of: a number before a text of digits.
    private static func value(_ text: String, of kinds: Set<String>) -> JSON {
        guard let parsed = try? JSON.parse(Array(text.utf8)) else { return .string(text) }
        let isMeant =
            switch parsed {
            case .number(let number): kinds.contains("number") || kinds.contains("integer") && number.isInteger
            case .bool: kinds.contains("boolean")
            // A text may be the word; null is given by leaving the parameter out.
            case .null: kinds.contains("null") && !kinds.contains("string")
            case .object: kinds.contains("object")
            case .array: kinds.contains("array")
            case .string: false
            }
        return isMeant ? parsed : .string(text)
    }

    /// The types that a value may have by a schema; none where it says nothing of types.
    private func kinds(of schema: JSON) -> Set<String> {
        var kinds: Set<String> = []
        visit(schema) { object in
            if let type = object["type"]?.stringValue { kinds.insert(type) }
            kinds.formUnion((object["type"]?.arrayValue ?? []).compactMap(\.stringValue))
            if let constant = object["const"] { kinds.insert(constant.kindName) }
            kinds.formUnion((object["enum"]?.arrayValue ?? []).map(\.kindName))
        }
        return kinds
    }

    /// What the elements of an array are, wherever the schema says it first.
    private func items(of schema: JSON) -> JSON {
        var items: JSON?
        visit(schema) { items = items ?? $0["items"] }
        return items ?? true
    }

    /// Looks at a schema and all that it refers to or combines, each once: references may go in circles.
    private func visit(_ schema: JSON, _ look: (JSONObject) -> Void) {
        var waiting = [schema]
        var followed: Set<String> = []
        while let next = waiting.popLast() {
            guard let object = next.objectValue else { continue }
            look(object)
            for keyword in ["allOf", "oneOf", "anyOf"] { waiting += (object[keyword]?.arrayValue ?? []).reversed() }
            guard let reference = object["$ref"]?.stringValue, followed.insert(reference).inserted else { continue }
            if let target = target(of: reference) { waiting.append(target) }
        }
    }

    private func target(of reference: String) -> JSON? {
        guard reference.hasPrefix("#"),
            let pointer = PercentEncoding.decode(reference.utf8.dropFirst()).flatMap(JSONPointer.init)
        else { return nil }
        return schema[pointer]
    }
}

extension JSON {
    /// As JSON Schema calls its type.
    fileprivate var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "boolean"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}

/// The parameters after the question mark, as forms write them (URL Standard, section 5.1).
package struct QueryParameters {
    /// In the order in which the names come first, each with all its values.
    package private(set) var values: [(name: String, texts: [String])] = []

    package init(_ query: String?) throws(ProblemDetails) {
        var places: [String: Int] = [:]
        for pair in (query ?? "").utf8.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            let texts = parts.map { part in
                PercentEncoding.decode(part.lazy.map { $0 == UInt8(ascii: "+") ? UInt8(ascii: " ") : $0 })
            }
            guard let name = texts[0], let text = texts.count == 2 ? texts[1] : "" else {
                throw .badRequest(
                    "The address is not percent-encoded UTF-8: \(String(decoding: pair.prefix(80), as: UTF8.self))")
            }
            if let place = places[name] {
                values[place].texts.append(text)
            } else {
                places[name] = values.count
                values.append((name, [text]))
            }
        }
    }
}
