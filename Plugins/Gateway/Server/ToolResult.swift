import KnapJSON

/// What a tool's answer becomes for the client.
enum ToolResult {
    static func read(
        _ reply: BackendReply, of tool: Tool, method: String, revision: Revision
    ) throws(CallFailure) -> JSONObject {
        switch reply.contentType ?? tool.output.type?.name {
        case nil, "application/json"?: return shape(try reply.json(from: method), of: tool, revision: revision)
        case BackendReply.result?:
            guard case .object(let result) = try reply.json(from: method) else {
                throw CallFailure(.internal, "\(method) answered with an MCP result that is not an object.")
            }
            return result.fitted(to: revision)
        case let type? where type.hasPrefix("text/"):
            return .text(String(decoding: reply.body, as: UTF8.self))
        case let type?:
            throw CallFailure(.internal, "\(method) answered with \(type), which no tool's result can carry.")
        }
    }

    /// The text the tool points at comes first and as it is, so that a note reads as a note; what is left follows as one
    /// compact line. No structured copy, unless the tool asks for it: it would cost the tokens twice.
    private static func shape(_ output: JSON, of tool: Tool, revision: Revision) -> JSONObject {
        var result: JSONObject = ["content": .array(blocks(of: output, text: tool.text))]
        if tool.outputSchema != nil, revision >= .june2025, revision.isModern || output.objectValue != nil {
            result["structuredContent"] = output
        }
        return result
    }

    private static func blocks(of output: JSON, text pointer: JSONPointer?) -> [JSON] {
        guard let pointer, let text = output[pointer]?.stringValue else { return [.textBlock(output.serialized())] }
        let rest = output.removing(pointer.tokens[...])
        guard let members = rest.objectValue, !members.isEmpty else { return [.textBlock(text)] }
        return [.textBlock(text), .textBlock(rest.serialized())]
    }
}

extension JSON {
    static func textBlock(_ text: String) -> JSON { ["type": "text", "text": .string(text)] }

    /// Without the member at a path of names.
    fileprivate func removing(_ path: ArraySlice<String>) -> JSON {
        guard let name = path.first, case .object(var object) = self else { return self }
        object[name] = path.count == 1 ? nil : object[name]?.removing(path.dropFirst())
        return .object(object)
    }
}

extension JSONObject {
    static func text(_ text: String) -> JSONObject { ["content": [.textBlock(text)]] }

    /// A failure as a result: the model reads it and can do better. Only a call that was given up is an error.
    static func failed(_ failure: CallFailure) throws(RPCError) -> JSONObject {
        guard failure.code != .cancelled else { throw RPCError(.cancelled, failure.message) }
        var text = failure.message.isEmpty ? "The call failed." : failure.message
        text += " (\(failure.code.rawValue))"
        if let details = failure.details, !details.isNull { text += "\n\(details.serialized())" }
        return ["content": [.textBlock(text)], "isError": true]
    }

    /// Leaves out, or says in words, what older revisions have no form for.
    fileprivate func fitted(to revision: Revision) -> JSONObject {
        var result = self
        if result["content"] == nil { result["content"] = [] }
        guard revision < .june2025 else {
            if !revision.isModern, result["structuredContent"]?.objectValue == nil { result["structuredContent"] = nil }
            return result
        }
        result["structuredContent"] = nil
        let content = (result["content"]?.arrayValue ?? []).map { block -> JSON in
            switch block["type"]?.stringValue {
            case "resource_link": .textBlock(block["uri"]?.stringValue ?? "")
            case "audio" where revision < .march2025: .textBlock("[audio, \(block["mimeType"]?.stringValue ?? "")]")
            default: block
            }
        }
        result["content"] = .array(content)
        return result
    }
}
