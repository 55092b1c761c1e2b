import KnapPlugin

/// What an interactive method is given.
struct Asked: Decodable, Sendable {
    struct Client: Decodable, Sendable {
        var revision: String
        var capabilities: JSON
    }

    var name: String?
    var uri: String?
    var arguments: JSON?
    var client: Client
    var inputResponses: JSON?
    var requestState: String?

    /// A text among the arguments; empty where there is none.
    func argument(_ name: String) -> String { arguments?[name]?.stringValue ?? "" }

    /// Whether the client fills in forms: what says nothing of modes means forms.
    var hasForms: Bool {
        guard let modes = client.capabilities["elicitation"]?.objectValue else { return false }
        return modes.isEmpty || modes["form"] != nil
    }

    /// The client's answer to a question; nil where there is none that can be one.
    func answer(to question: Question) -> JSON? {
        guard let answer = inputResponses?[question.key], question.method.isAnswered(by: answer) else { return nil }
        return answer
    }
}

/// Something that a method asks the client.
struct Question: Sendable {
    enum Method: String, Sendable {
        case elicitation = "elicitation/create"
        case sampling = "sampling/createMessage"
        case roots = "roots/list"

        func isAnswered(by answer: JSON) -> Bool {
            switch self {
            case .elicitation: answer["action"]?.stringValue != nil
            case .sampling: answer["content"] != nil
            case .roots: answer["roots"]?.arrayValue != nil
            }
        }
    }

    var key: String
    var method: Method
    var params: JSON

    /// A form whose fields must be filled in, unless `required` says which.
    static func form(_ key: String, _ message: String, _ fields: JSONObject, required: [String]? = nil) -> Question {
        let required = (required ?? fields.names).map { JSON.string($0) }
        return Question(
            key: key, method: .elicitation,
            params: [
                "mode": "form", "message": .string(message),
                "requestedSchema": [
                    "type": "object", "properties": .object(fields), "required": .array(required),
                ],
            ])
    }

    static func sampling(_ key: String, _ prompt: String, maxTokens: Int, _ more: JSONObject = [:]) -> Question {
        var params = more
        params["messages"] = [["role": "user", "content": .text(prompt)]]
        params["maxTokens"] = .number(JSONNumber(maxTokens))
        return Question(key: key, method: .sampling, params: .object(params))
    }

    static func roots(_ key: String) -> Question { Question(key: key, method: .roots, params: [:]) }
}

extension JSON {
    /// The result that asks the client.
    static func asking(_ questions: [Question], state: String? = nil) -> JSON {
        var result: JSON = ["resultType": "input_required"]
        if !questions.isEmpty {
            result["inputRequests"] = .object(
                JSONObject(
                    questions.map { question in
                        (question.key, ["method": .string(question.method.rawValue), "params": question.params])
                    }))
        }
        result["requestState"] = state.map(JSON.string)
        return result
    }

    /// A field of a form that was accepted.
    func field(_ name: String) -> JSON? { self["action"]?.stringValue == "accept" ? self["content"]?[name] : nil }

    /// The text of a sampled message, whose content is one block or several.
    var sampled: String {
        let blocks = self["content"]?.arrayValue ?? [self["content"] ?? [:]]
        return blocks.compactMap { $0["text"]?.stringValue }.joined(separator: "\n")
    }

    /// The answer to a form in words.
    var outcome: String {
        "action=\(self["action"]?.stringValue ?? ""), content=\((self["content"] ?? [:]).serialized())"
    }
}
