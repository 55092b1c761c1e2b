import KnapJSON

/// The documents that `$ref`s may name, by absolute URI. Nothing is ever fetched.
package struct SchemaRegistry: Sendable {
    private(set) var documents: [String: JSON]

    package static let empty = SchemaRegistry()

    package init() { documents = Self.metaschemas }

    package mutating func add(_ document: JSON, at uri: String) { documents[uri] = document }

    private static let metaschemas: [String: JSON] = {
        var documents: [String: JSON] = [:]
        for text in Metaschemas.documents {
            // The texts are this module's own and tested.
            guard let document = try? JSON.parse(text), let id = document["$id"]?.stringValue else { continue }
            documents[id] = document
        }
        return documents
    }()
}

/// Where the schemas of a set of documents are: by base URI, by anchor, by place.
struct SchemaIndex {
    /// A schema with a base URI of its own.
    struct Resource {
        var root: JSON
        var anchors: [String: JSON] = [:]
        var dynamicAnchors: [String: JSON] = [:]
        /// Validation keywords count; false when its metaschema's `$vocabulary` leaves them out.
        var validates = true
    }

    private(set) var resources: [String: Resource] = [:]

    /// Keywords whose values hold schemas.
    private static let single: Set = [
        "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties",
    ]
    private static let lists: Set = ["allOf", "anyOf", "oneOf", "prefixItems"]
    private static let maps: Set = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"]

    mutating func add(_ document: JSON, base: String) {
        if resources[base] != nil { return }
        resources[base] = Resource(root: document)
        walk(document, base: base, depth: 0)
    }

    private mutating func walk(_ schema: JSON, base: String, depth: Int) {
        guard case .object(let object) = schema, depth < 500 else { return }
        var base = base
        if let id = object["$id"]?.stringValue {
            base = URIReference.resolve(id, against: base).withoutFragment
            resources[base, default: Resource(root: schema)].root = schema
        }
        if let anchor = object["$anchor"]?.stringValue { resources[base]?.anchors[anchor] = schema }
        if let anchor = object["$dynamicAnchor"]?.stringValue {
            resources[base]?.anchors[anchor] = schema
            resources[base]?.dynamicAnchors[anchor] = schema
        }
        for (name, value) in object.members {
            if Self.single.contains(name) { walk(value, base: base, depth: depth + 1) }
            if Self.lists.contains(name) {
                for each in value.arrayValue ?? [] { walk(each, base: base, depth: depth + 1) }
            }
            if Self.maps.contains(name) {
                for (_, each) in value.objectValue?.members ?? [] { walk(each, base: base, depth: depth + 1) }
            }
        }
    }

    mutating func setValidates(_ validates: Bool, of base: String) { resources[base]?.validates = validates }
}
