import KnapPlugin

/// Tools that ask the client while they work.
extension Conformance {
    static let inputTools: [Method<Conformance>] = [
        .result("test_elicitation", elicitation),
        .result("test_elicitation_sep1034_defaults", elicitationDefaults),
        .result("test_elicitation_sep1330_enums", elicitationEnums),
        .result("test_elicitation_url", elicitationURL),
        .result("test_sampling", sampling),
        .result("test_sampling_with_tools", samplingWithTools),
        .result("test_streaming_elicitation", streamingElicitation),
        .result("test_input_required_result_elicitation", inputElicitation),
        .result("test_input_required_result_sampling", inputSampling),
        .result("test_input_required_result_list_roots", inputListRoots),
        .result("test_input_required_result_request_state", inputRequestState),
        .result("test_input_required_result_state_only", inputStateOnly),
        .result("test_input_required_result_multiple_inputs", inputMultiple),
        .result("test_input_required_result_multi_round", inputMultiRound),
        .result("test_input_required_result_tampered_state", inputTamperedState),
        .result("test_input_required_result_capabilities", inputCapabilities),
    ]
}

// MARK: - Those of the handshake era, which the client hears as requests there

extension Conformance {
    func elicitation(_ asked: Asked, _ call: Call) async throws -> JSON {
        let question = Question.form(
            "response", asked.argument("message"), ["response": ["type": "string", "description": "User's response"]])
        guard let answer = asked.answer(to: question) else { return .asking([question]) }
        return .said("User response: \(answer.outcome)")
    }

    func elicitationDefaults(_ asked: Asked, _ call: Call) async throws -> JSON {
        let question = Question.form(
            "form", "Please review and update the form fields with defaults",
            [
                "name": ["type": "string", "description": "User name", "default": "John Doe"],
                "age": ["type": "integer", "description": "User age", "default": 30],
                "score": ["type": "number", "description": "User score", "default": 95.5],
                "status": [
                    "type": "string", "description": "User status", "enum": ["active", "inactive", "pending"],
                    "default": "active",
                ],
                "verified": ["type": "boolean", "description": "Verification status", "default": true],
            ], required: [])
        guard let answer = asked.answer(to: question) else { return .asking([question]) }
        return .said("Elicitation completed: \(answer.outcome)")
    }

    func elicitationEnums(_ asked: Asked, _ call: Call) async throws -> JSON {
        let question = Question.form(
            "form", "Please select options from the enum fields",
            [
                "untitledSingle": [
                    "type": "string", "description": "Select one option", "enum": ["option1", "option2", "option3"],
                ],
                "titledSingle": [
                    "type": "string", "description": "Select one option with titles",
                    "oneOf": [
                        ["const": "value1", "title": "First Option"], ["const": "value2", "title": "Second Option"],
                        ["const": "value3", "title": "Third Option"],
                    ],
                ],
                "legacyEnum": [
                    "type": "string", "description": "Select one option (legacy)", "enum": ["opt1", "opt2", "opt3"],
                    "enumNames": ["Option One", "Option Two", "Option Three"],
                ],
                "untitledMulti": [
                    "type": "array", "description": "Select multiple options", "minItems": 1, "maxItems": 3,
                    "items": ["type": "string", "enum": ["option1", "option2", "option3"]],
                ],
                "titledMulti": [
                    "type": "array", "description": "Select multiple options with titles", "minItems": 1, "maxItems": 3,
                    "items": [
                        "anyOf": [
                            ["const": "value1", "title": "First Choice"], ["const": "value2", "title": "Second Choice"],
                            ["const": "value3", "title": "Third Choice"],
                        ]
                    ],
                ],
            ], required: [])
        guard let answer = asked.answer(to: question) else { return .asking([question]) }
        return .said("Elicitation completed: \(answer.outcome)")
    }

    /// In the handshake era such a request has an id of its own, which the newest revision does without.
    func elicitationURL(_ asked: Asked, _ call: Call) async throws -> JSON {
        var params: JSON = [
            "mode": "url", "url": "https://mcp.example.com/ui/set_api_key",
            "message": "Please provide your API key to continue.",
        ]
        if asked.client.revision < "2026-07-28" { params["elicitationId"] = "api-key" }
        let question = Question(key: "api_key", method: .elicitation, params: params)
        guard let answer = asked.answer(to: question) else { return .asking([question]) }
        return .said("Elicitation completed: \(answer.outcome)")
    }

    func sampling(_ asked: Asked, _ call: Call) async throws -> JSON {
        let preferences: JSON = [
            "hints": [["name": "claude-3-sonnet"], ["name": "claude"]], "costPriority": 0.3, "speedPriority": 0.8,
            "intelligencePriority": 0.5,
        ]
        let question = Question.sampling(
            "response", asked.argument("prompt"), maxTokens: 100,
            ["modelPreferences": preferences, "systemPrompt": "You are a helpful assistant."])
        guard let answer = asked.answer(to: question) else { return .asking([question]) }
        return .said("LLM response: \(answer.sampled)")
    }

    /// Lets the model use a tool: its calls come back as its message, and go to it again with the tool's results.
    func samplingWithTools(_ asked: Asked, _ call: Call) async throws -> JSON {
        let tools: JSON = [
            [
                "name": "get_weather", "description": "Get current weather for a city",
                "inputSchema": [
                    "type": "object", "properties": ["city": ["type": "string", "description": "City name"]],
                    "required": ["city"],
                ],
            ]
        ]
        let prompt = "What's the weather like in Paris and London?"
        let first = Question.sampling("uses", prompt, maxTokens: 1000, ["tools": tools, "toolChoice": ["mode": "auto"]])
        var messages: [JSON] = [["role": "user", "content": .text(prompt)]]
        var second = Question(key: "answer", method: .sampling, params: ["maxTokens": 1000, "tools": tools])
        if let answer = asked.answer(to: second) { return .said("LLM response: \(answer.sampled)") }
        guard let uses = asked.answer(to: first) else { return .asking([first]) }
        let content = uses["content"]?.arrayValue ?? []
        messages.append(["role": "assistant", "content": .array(content)])
        let results = content.map { use -> JSON in
            let city = use["input"]?["city"]?.stringValue ?? ""
            return [
                "type": "tool_result", "toolUseId": use["id"] ?? "",
                "content": [.text("Weather in \(city): 18°C, partly cloudy")],
            ]
        }
        messages.append(["role": "user", "content": .array(results)])
        second.params["messages"] = .array(messages)
        return .asking([second])
    }
}

// MARK: - Those that the suite calls in the stateless era

extension Conformance {
    static let userName = Question.form("user_name", "What is your name?", ["name": ["type": "string"]])
    static let confirm = Question.form("confirm", "Please confirm", ["ok": ["type": "boolean"]])
    static let capital = Question.sampling("capital_question", "What is the capital of France?", maxTokens: 100)
    static let clientRoots = Question.roots("client_roots")

    /// The stream of its response carries progress before it asks.
    func streamingElicitation(_ asked: Asked, _ call: Call) async throws -> JSON {
        guard let answer = asked.answer(to: Self.confirm) else {
            call.progress(50, of: 100, "About to ask")
            return .asking([Self.confirm])
        }
        return .said("User response: \(answer.outcome)")
    }

    func inputElicitation(_ asked: Asked, _ call: Call) async throws -> JSON {
        guard let answer = asked.answer(to: Self.userName) else { return .asking([Self.userName]) }
        guard let name = answer.field("name")?.stringValue else { return .said("Hello, whoever you are!") }
        return .said("Hello, \(name)!")
    }

    func inputSampling(_ asked: Asked, _ call: Call) async throws -> JSON {
        guard let answer = asked.answer(to: Self.capital) else { return .asking([Self.capital]) }
        return .said(answer.sampled)
    }

    func inputListRoots(_ asked: Asked, _ call: Call) async throws -> JSON {
        guard let answer = asked.answer(to: Self.clientRoots) else { return .asking([Self.clientRoots]) }
        let roots = (answer["roots"]?.arrayValue ?? []).compactMap { $0["uri"]?.stringValue }
        return .said("Roots: \(roots.joined(separator: ", "))")
    }

    func inputRequestState(_ asked: Asked, _ call: Call) async throws -> JSON {
        let state = "asked to confirm"
        guard asked.requestState == state, asked.answer(to: Self.confirm) != nil else {
            return .asking([Self.confirm], state: state)
        }
        return .said("state-ok: the state came back")
    }

    /// Asks nothing: the client calls again with the state.
    func inputStateOnly(_ asked: Asked, _ call: Call) async throws -> JSON {
        let state = "half of the work"
        guard asked.requestState == state else { return .asking([], state: state) }
        return .said("state-ok: the other half of the work is done")
    }

    /// Three questions at once. What was answered is kept in the state, and only the rest is asked again.
    func inputMultiple(_ asked: Asked, _ call: Call) async throws -> JSON {
        let questions = [
            Self.userName, Question.sampling("greeting", "Generate a greeting", maxTokens: 50), Self.clientRoots,
        ]
        let kept = asked.requestState.flatMap { try? JSON.parse(Array($0.utf8)) }
        let answers = JSONObject(
            questions.compactMap { question in
                (asked.answer(to: question) ?? kept?[question.key]).map { (question.key, $0) }
            })
        let missing = questions.filter { answers[$0.key] == nil }
        guard missing.isEmpty else { return .asking(missing, state: JSON.object(answers).serialized()) }
        let name = answers["user_name"]?.field("name")?.stringValue ?? ""
        let roots = answers["client_roots"]?["roots"]?.arrayValue?.count ?? 0
        return .said("\(answers["greeting"]?.sampled ?? "") \(name), with \(roots) roots")
    }

    func inputMultiRound(_ asked: Asked, _ call: Call) async throws -> JSON {
        let first = Question.form("step1", "Step 1: What is your name?", ["name": ["type": "string"]])
        let second = Question.form("step2", "Step 2: What is your favorite color?", ["color": ["type": "string"]])
        let round = "round 2 of "
        if let state = asked.requestState, state.hasPrefix(round) {
            guard let color = asked.answer(to: second)?.field("color")?.stringValue else {
                return .asking([second], state: state)
            }
            return .said("\(state.dropFirst(round.count)) likes \(color).")
        }
        guard asked.requestState == "round 1", let name = asked.answer(to: first)?.field("name")?.stringValue else {
            return .asking([first], state: "round 1")
        }
        return .asking([second], state: round + name)
    }

    /// That nobody changed the state is for the Gateway to see.
    func inputTamperedState(_ asked: Asked, _ call: Call) async throws -> JSON {
        guard asked.requestState != nil, asked.answer(to: Self.confirm) != nil else {
            return .asking([Self.confirm], state: "not to be changed")
        }
        return .said("integrity-ok: the state is \(asked.requestState ?? "")")
    }

    /// Asks for what the client declared, and for nothing else.
    func inputCapabilities(_ asked: Asked, _ call: Call) async throws -> JSON {
        var questions: [Question] = []
        if asked.client.capabilities["sampling"] != nil { questions.append(Self.capital) }
        if asked.hasForms { questions.append(Self.userName) }
        if asked.client.capabilities["roots"] != nil { questions.append(Self.clientRoots) }
        let missing = questions.filter { asked.answer(to: $0) == nil }
        guard missing.isEmpty else { return .asking(missing) }
        return .said("Asked \(questions.count) times.")
    }
}
