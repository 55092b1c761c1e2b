import HTTPTypes
import KnapJSON

/// What a method's answer becomes over REST: itself.
enum MethodAnswer {
    /// - Parameter declared: The type that the manifest gives the method's answers; nil for JSON.
    static func read(_ reply: BackendReply, of method: String, declared: MediaType?) throws(ProblemDetails) -> Answer {
        let text = reply.contentType ?? declared?.name ?? MediaType.json.name
        guard let type = MediaType(text) else {
            throw ProblemDetails(CallFailure(.internal, "\(method) answered with a content type that is none."))
        }
        if type.name == BackendReply.result { return try result(reply, of: method) }
        guard type.isJSON else { return whole(Answer(status: 200, type: text, body: reply.body)) }
        if reply.body.isEmpty { return whole(Answer(status: 200, type: text, body: Array("{}".utf8))) }
        // Only looked at: what comes out is what the method wrote.
        do {
            _ = try JSON.parse(reply.body)
        } catch {
            throw ProblemDetails(CallFailure(.internal, "\(method) answered with what is not JSON: \(error.message)"))
        }
        return whole(Answer(status: 200, type: text, body: reply.body))
    }

    /// An MCP result: what it has for programs, else all of it.
    private static func result(_ reply: BackendReply, of method: String) throws(ProblemDetails) -> Answer {
        let result: JSON
        do throws(CallFailure) {
            result = try reply.json(from: method)
        } catch {
            throw ProblemDetails(error)
        }
        if let error = result["error"].flatMap(RPCError.init) { throw ProblemDetails(error) }
        if result["resultType"]?.stringValue == "input_required" {
            let asked = (result["inputRequests"]?.objectValue ?? JSONObject()).members
                .compactMap { $0.value["method"]?.stringValue }
            throw .unanswerable(
                "This needs input while it runs\(asked.isEmpty ? "" : " (\(asked.joined(separator: ", ")))"), "
                    + "for which REST has no way; a client of MCP can give it.")
        }
        if result["isError"] == true {
            let texts = (result["content"]?.arrayValue ?? []).compactMap { $0["text"]?.stringValue }
            throw ProblemDetails(
                status: 422, texts.isEmpty ? "The tool failed." : texts.joined(separator: "\n"), code: .unknown,
                details: result["structuredContent"])
        }
        return whole(.json(result["structuredContent"] ?? result))
    }

    private static func whole(_ answer: Answer) -> Answer {
        var answer = answer
        answer.fields += [(.cacheControl, "no-store"), (.xContentTypeOptions, "nosniff")]
        return answer
    }
}
