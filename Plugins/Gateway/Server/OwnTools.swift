import KnapJSON

/// The Gateway's own tools: the way to every tool that the list has no room for.
enum OwnTools {
    static let all = [find, use]

    static let defaultLimit = 5
    static let maximumLimit = 20

    private static let find = Tool(
        name: "find_tools", title: "Find tools", action: .find,
        description: "Find tools by what they do, among all that are active, also those not listed. "
            + "Answers with names, descriptions and input schemas, best match first.",
        inputSchema: [
            "type": "object",
            "properties": [
                "query": ["type": "string", "description": "What the tool should do, in a few words."],
                "limit": [
                    "type": "integer", "minimum": 1, "maximum": .number(JSONNumber(maximumLimit)),
                    "default": .number(JSONNumber(defaultLimit)),
                ],
            ],
            "required": ["query"],
            "additionalProperties": false,
        ],
        annotations: ["readOnlyHint": true, "openWorldHint": false])

    private static let use = Tool(
        name: "use_tool", title: "Use a tool", action: .use,
        description: "Call a tool that is not listed, by the name and input schema that find_tools gave.",
        inputSchema: [
            "type": "object",
            "properties": [
                "name": ["type": "string", "description": "The tool's name."],
                "arguments": ["type": "object", "description": "What its input schema asks for."],
            ],
            "required": ["name"],
            "additionalProperties": false,
        ],
        annotations: nil)
}

extension Tool {
    fileprivate init(
        name: String, title: String, action: ToolAction, description: String, inputSchema: JSON, annotations: JSON?
    ) {
        self.name = name
        self.title = title
        self.plugin = "gateway"
        self.action = action
        self.description = description
        self.inputSchema = inputSchema
        self.annotations = annotations
    }
}

extension Catalog {
    /// The answer of `find_tools`: only what the caller may call.
    func find(_ arguments: JSONObject, for caller: Caller) throws(CallFailure) -> JSON {
        guard let query = arguments["query"]?.stringValue else {
            throw CallFailure(
                .invalidArgument, "The argument query is required: a few words on what the tool should do.")
        }
        let limit = arguments["limit"].map { $0.intValue ?? 0 } ?? OwnTools.defaultLimit
        guard (1...OwnTools.maximumLimit).contains(limit) else {
            throw CallFailure(.invalidArgument, "The argument limit must be 1 to \(OwnTools.maximumLimit).")
        }
        let found = search.rank(query).map { tools[$0] }.filter { $0.isPlugins && caller.may($0) }
        var answer: JSONObject = ["tools": .array(found.prefix(limit).map(\.summary))]
        answer["total"] = .number(JSONNumber(found.count))
        if found.isEmpty {
            let names = tools.filter { $0.isPlugins && caller.may($0) }.prefix(40).map(\.name).joined(separator: ", ")
            answer["hint"] = .string("No tool matches. Try other words. Some of the tools: \(names).")
        }
        return .object(answer)
    }
}

extension Tool {
    /// Refuses arguments that one of the Gateway's own tools does not have; the host checks those of the others.
    func checkNames(_ arguments: JSONObject) throws(CallFailure) {
        let known = inputSchema["properties"]?.objectValue?.names ?? []
        guard let unknown = arguments.names.first(where: { !known.contains($0) }) else { return }
        let allowed = known.joined(separator: " and ")
        throw CallFailure(.invalidArgument, "\(name) has no argument \(unknown.prefix(100)); it has \(allowed).")
    }

    /// Whether a plugin serves it, rather than the Gateway itself.
    var isPlugins: Bool { if case .call = action { true } else { false } }
}
