import KnapJSON

/// The document's `components.schemas`, to which operations add theirs.
struct OpenAPISchemas {
    private(set) var schemas: JSONObject = ["Problem": problem]

    private static let problem: JSON = [
        "type": "object", "required": ["title", "status", "detail"],
        "properties": [
            "title": ["type": "string", "description": "The status in words."], "status": ["type": "integer"],
            "detail": ["type": "string", "description": "What happened, and what to do about it."],
            "code": [
                "description": "One of gRPC's canonical codes.",
                "enum": .array(CallFailure.Code.allCases.map { .string($0.rawValue) }),
            ],
            "details": ["description": "What the method says to programs."],
        ],
    ]

    /// Adds a schema and answers a reference to it; one that cannot be a part of the document is left out, and anything
    /// goes in its place.
    mutating func add(_ schema: JSON?, named name: String) -> JSON {
        rebased(schema, as: name).map { add($0.json, as: name) } ?? [:]
    }

    /// Adds a schema that was written for its place here.
    mutating func add(_ rebased: JSON, as name: String) -> JSON {
        schemas[name] = rebased
        return Self.reference(name)
    }

    /// A schema as it would be under a name.
    func rebased(_ schema: JSON?, as name: String) -> RebasedSchema? {
        schema.flatMap { try? RebasedSchema($0, at: "#/components/schemas/\(name)", "schema") }
    }

    private static func reference(_ name: String) -> JSON { ["$ref": .string("#/components/schemas/\(name)")] }
}
