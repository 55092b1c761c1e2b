import KnapJSON

/// A tool as it is served: what a client sees of it, and how it is called.
package struct Tool: Sendable, Hashable {
    package var name: String
    package var plugin: String
    package var action: ToolAction
    package var title: String?
    package var description: String
    package var inputSchema: JSON
    /// Published, and results then come as structured content too.
    package var outputSchema: JSON?
    /// What its method answers.
    package var output = MethodOutput()
    package var annotations: JSON?
    package var icons: JSON?
    /// Where in the method's output the text for the model is; nil for the whole output as JSON.
    package var text: JSONPointer?
    /// Whether its method takes part in rounds; see ``Interaction``.
    package var isInteractive = false
    /// What the client must have declared.
    package var clientCapabilities = JSONObject()
    /// Whether clients that know tasks get it as one; nil for never.
    package var task: TaskMode?
    package var headerArguments = HeaderArguments()
    /// Whether `tools/list` has it; every tool can be called by name and found by `find_tools`.
    package var isListed = true

    /// The entry in `tools/list`.
    package var listing: JSON {
        var entry: JSONObject = ["name": .string(name)]
        entry["title"] = title.map(JSON.string)
        entry["description"] = .string(description)
        entry["inputSchema"] = inputSchema
        entry["outputSchema"] = outputSchema
        entry["annotations"] = annotations
        entry["icons"] = icons
        return .object(entry)
    }

    /// Just what is needed to call it: the answer of `find_tools`.
    package var summary: JSON {
        ["name": .string(name), "description": .string(description), "inputSchema": inputSchema]
    }
}

/// What a method's answers are, as its manifest says.
package struct MethodOutput: Sendable, Hashable {
    /// Nil for anything.
    package var schema: JSON?
    /// Nil for JSON.
    package var type: MediaType?

    init() {}

    init(_ method: JSON?) {
        schema = method?["output"]
        type = method?["output_content_type"]?.stringValue.flatMap(MediaType.init)
    }
}

/// What calling a tool does.
package enum ToolAction: Sendable, Hashable {
    /// Calls `service.method`.
    case call(String)
    /// The Gateway's own: ranks the tools.
    case find
    /// The Gateway's own: calls any tool by name.
    case use
}

/// Whether a tool runs as a task.
package enum TaskMode: String, Sendable, Hashable {
    /// In place for clients that do not know tasks.
    case optional
    /// Not at all for clients that do not know tasks.
    case required
    /// When the method says so, which it can after it has asked the client.
    case decided
}

/// Why an item cannot be served at all.
package struct Unservable: Error {
    package var reason: String
    init(_ reason: String) { self.reason = reason }
}

extension Tool {
    /// Reads a tool from its contribution. One that strict clients would refuse, and drop every other tool with it, is
    /// left out here with a reason.
    init(_ offer: Offer, _ lint: SchemaLint) throws(Unservable) {
        let item = offer.item
        name = try item.required("name")
        try Tool.check(name: name)
        plugin = offer.plugin
        action = .call(try item.required("method"))
        title = item["title"]?.stringValue
        description = item["description"]?.stringValue ?? offer.method?["description"]?.stringValue ?? ""
        isInteractive = item["interactive"]?.boolValue ?? false
        clientCapabilities = item["client_capabilities"]?.objectValue ?? JSONObject()
        task = item["task"]?.stringValue.flatMap(TaskMode.init)
        // The arguments are a part of what an interactive method gets.
        let input = offer.method?["input"]
        let declared = isInteractive ? input?["properties"]?["arguments"] : input
        inputSchema = item["input"] ?? declared ?? ["type": "object"]
        try lint.check(inputSchema, "input schema")
        headerArguments = try HeaderArguments(inputSchema: inputSchema)
        if item["structured"]?.boolValue == true, let schema = offer.method?["output"] {
            try lint.check(schema, "output schema")
            outputSchema = schema
        }
        output = MethodOutput(offer.method)
        annotations = try item.optional("annotations") { $0.objectValue != nil }
        icons = try item.optional("icons") { $0.arrayValue != nil }
        if let pointer = item["text"]?.stringValue {
            guard let parsed = JSONPointer(pointer) else { throw Unservable("text \(pointer) is not a JSON pointer") }
            text = parsed
        }
        isListed = item["listed"]?.boolValue ?? true
    }

    /// What the model APIs behind the clients accept: 1 to 64 of A-Z, a-z, 0-9, _ and -.
    static func check(name: String) throws(Unservable) {
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard isPlain, (1...64).contains(name.utf8.count) else {
            throw Unservable("the name \"\(name)\" must be 1 to 64 letters, digits, _ and -")
        }
    }
}

extension JSON {
    func required(_ name: String) throws(Unservable) -> String {
        guard let value = self[name]?.stringValue, !value.isEmpty else { throw Unservable("it has no \(name)") }
        return value
    }

    func optional(_ name: String, where fits: (JSON) -> Bool) throws(Unservable) -> JSON? {
        guard let value = self[name] else { return nil }
        guard fits(value) else { throw Unservable("\(name) has the wrong type") }
        return value
    }
}
