import KnapPlugin

extension Conformance {
    static let promptMethods: [Method<Conformance>] = [
        .value("test_simple_prompt", simplePrompt),
        .value("test_prompt_with_arguments", promptWithArguments),
        .value("test_prompt_with_embedded_resource", promptWithEmbeddedResource),
        .value("test_prompt_with_image", promptWithImage),
        .result("test_input_required_result_prompt", inputRequiredPrompt),
        .value("complete_arg1", completeArg1),
    ]

    private static func messages(_ contents: JSON...) -> JSON {
        ["messages": .array(contents.map { ["role": "user", "content": $0] })]
    }

    func simplePrompt(_ request: JSON, _ call: Call) async throws -> JSON {
        Self.messages(.text("This is a simple prompt for testing."))
    }

    func promptWithArguments(_ request: JSON, _ call: Call) async throws -> JSON {
        let (first, second) = (request["arguments"]?["arg1"]?.stringValue, request["arguments"]?["arg2"]?.stringValue)
        return Self.messages(.text("Prompt with arguments: arg1='\(first ?? "")', arg2='\(second ?? "")'"))
    }

    func promptWithEmbeddedResource(_ request: JSON, _ call: Call) async throws -> JSON {
        let uri = request["arguments"]?["resourceUri"]?.stringValue ?? ""
        return Self.messages(
            .embedded(uri, "text/plain", text: "Embedded resource content for testing."),
            .text("Please process the embedded resource above."))
    }

    func promptWithImage(_ request: JSON, _ call: Call) async throws -> JSON {
        Self.messages(.image(Sample.png), .text("Please analyze the image above."))
    }

    func inputRequiredPrompt(_ asked: Asked, _ call: Call) async throws -> JSON {
        let question = Question.form(
            "user_context", "What context should the prompt use?", ["context": ["type": "string"]])
        guard let answer = asked.answer(to: question) else { return .asking([question]) }
        return Self.messages(.text("Consider this: \(answer.field("context")?.stringValue ?? "nothing")"))
    }

    /// Whatever begins with what was typed.
    func completeArg1(_ request: JSON, _ call: Call) async throws -> JSON {
        let typed = request["argument"]?["value"]?.stringValue ?? ""
        let values = ["test", "testing", "tested"].filter { $0.hasPrefix(typed) }.map { JSON.string($0) }
        return ["values": .array(values), "total": .number(JSONNumber(values.count)), "hasMore": false]
    }
}
