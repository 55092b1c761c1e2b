import KnapPlugin

/// What the examples in the specification's schema call, read and get, so that they can be replayed as they are.
extension Conformance {
    static let exampleMethods: [Method<Conformance>] = [
        .result("get_weather", weather),
        .value("get_weather_data", weatherData),
        .result("list_users", listUsers),
        .result("build_simulation", buildSimulation),
        .result("book_flight", bookFlight),
        .result("calculate_sum", calculateSum),
        .content("get_current_time", .text("12:00")),
        .content(
            "test_annotated_content", .text("Tool result text"),
            annotated(.image(Sample.png), ["audience": ["user"], "priority": 0.9]), .audio(Sample.wav),
            [
                "type": "resource_link", "uri": .string(mainFile), "name": "main.rs",
                "description": "Primary application entry point", "mimeType": "text/x-rust",
            ],
            annotated(
                .embedded(mainFile, "text/x-rust", text: mainText),
                ["audience": ["user", "assistant"], "priority": 0.7, "lastModified": "2025-05-03T14:30:00Z"])),
        .result("test_elicitation_fields", elicitationFields),
        .result("test_example_inputs", exampleInputs),
        .value("code_review", codeReview),
        .value("complete_language", completeLanguage),
        .value("complete_framework", completeFramework),
        .value("read_example_file", readExampleFile),
    ]

    static let mainFile = "file:///project/src/main.rs"
    static let mainText = "fn main() {\n    println!(\"Hello world!\");\n}"

    private static func annotated(_ block: JSON, _ annotations: JSON) -> JSON {
        var block = block
        block["annotations"] = annotations
        return block
    }
}

// MARK: - Tools

extension Conformance {
    func weather(_ input: JSON, _ call: Call) async throws -> JSON {
        [
            "content": [.text("Current weather in New York:\nTemperature: 72°F\nConditions: Partly cloudy")],
            "isError": false,
        ]
    }

    /// With an output schema, so that the Gateway makes structured content of it.
    func weatherData(_ input: JSON, _ call: Call) async throws -> JSON {
        ["temperature": 22.5, "conditions": "Partly cloudy", "humidity": 65]
    }

    func listUsers(_ input: Empty, _ call: Call) async throws -> JSON {
        [
            "content": [.text("Found 2 users: Alice (alice@example.com) and Bob (bob@example.com).")],
            "structuredContent": [
                ["id": "1", "name": "Alice", "email": "alice@example.com"],
                ["id": "2", "name": "Bob", "email": "bob@example.com"],
            ],
        ]
    }

    func buildSimulation(_ input: JSON, _ call: Call) async throws -> JSON {
        call.progress(50, of: 100, "Reticulating splines...")
        return .said("\(input["city"]?.stringValue ?? "") is built")
    }

    func bookFlight(_ input: Empty, _ call: Call) async throws -> JSON {
        .said("Invalid departure date: must be in the future. Current date is 08/08/2025.", isError: true)
    }

    struct Addends: Decodable {
        var a: Double
        var b: Double
    }

    func calculateSum(_ addends: Addends, _ call: Call) async throws -> JSON { .said("\(addends.a + addends.b)") }

    /// Who somebody is, and what the capital is: both at once.
    func exampleInputs(_ asked: Asked, _ call: Call) async throws -> JSON {
        let login = Question.form(
            "github_login", "Please provide your GitHub username",
            [
                "name": ["type": "string", "title": "GitHub Username", "description": "Your GitHub username"],
                "email": ["type": "string", "format": "email", "description": "Your email address"],
                "age": ["type": "number", "minimum": 18, "description": "Your age"],
            ], required: ["name"])
        let capital = Question.sampling("capital_of_france", "What is the capital of France?", maxTokens: 100)
        guard let who = asked.answer(to: login), let what = asked.answer(to: capital) else {
            return .asking([login, capital], state: "asked")
        }
        return .said("\(who.field("name")?.stringValue ?? ""): \(what.sampled)")
    }

    /// A form with every kind of field that a form can have.
    func elicitationFields(_ asked: Asked, _ call: Call) async throws -> JSON {
        let (title, described): (JSON, JSON) = ("Color Selection", "Choose your favorite color")
        let titled: JSON = [
            ["const": "#FF0000", "title": "Red"], ["const": "#00FF00", "title": "Green"],
            ["const": "#0000FF", "title": "Blue"],
        ]
        let names: JSON = ["Red", "Green", "Blue"]
        let question = Question.form(
            "fields", "Please fill in every field",
            [
                "boolean": [
                    "type": "boolean", "title": "Display Name", "description": "Description text", "default": false,
                ],
                "string": [
                    "type": "string", "title": "Display Name", "description": "Description text", "minLength": 3,
                    "maxLength": 50, "format": "email", "default": "user@example.com",
                ],
                "number": [
                    "type": "number", "title": "Display Name", "description": "Description text", "minimum": 0,
                    "maximum": 100, "default": 50,
                ],
                "untitledSingle": [
                    "type": "string", "title": title, "description": described, "enum": names, "default": "Red",
                ],
                "titledSingle": [
                    "type": "string", "title": title, "description": described, "oneOf": titled, "default": "#FF0000",
                ],
                "untitledMulti": [
                    "type": "array", "title": title, "description": "Choose your favorite colors", "minItems": 1,
                    "maxItems": 2, "items": ["type": "string", "enum": names], "default": ["Red", "Green"],
                ],
                "titledMulti": [
                    "type": "array", "title": title, "description": "Choose your favorite colors", "minItems": 1,
                    "maxItems": 2, "items": ["anyOf": titled], "default": ["#FF0000", "#00FF00"],
                ],
            ], required: [])
        guard let answer = asked.answer(to: question) else { return .asking([question]) }
        return .said("Elicitation completed: \(answer.outcome)")
    }
}

// MARK: - Prompts and resources

extension Conformance {
    func codeReview(_ request: JSON, _ call: Call) async throws -> JSON {
        let code = request["arguments"]?["code"]?.stringValue ?? ""
        return [
            "description": "Code review prompt",
            "messages": [["role": "user", "content": .text("Please review this Python code:\n\(code)")]],
        ]
    }

    func completeLanguage(_ request: JSON, _ call: Call) async throws -> JSON {
        ["values": ["python", "pytorch", "pyside"], "total": 10, "hasMore": true]
    }

    /// Depends on the language that was chosen before.
    func completeFramework(_ request: JSON, _ call: Call) async throws -> JSON {
        let isPython = request["context"]?["arguments"]?["language"]?.stringValue == "python"
        return ["values": isPython ? ["flask"] : [], "total": isPython ? 1 : 0, "hasMore": false]
    }

    func readExampleFile(_ request: JSON, _ call: Call) async throws -> JSON {
        switch request["uri"]?.stringValue ?? "" {
        case Self.mainFile: ["contents": [.contents(Self.mainFile, "text/x-rust", text: Self.mainText)]]
        case "file:///example.png":
            ["contents": [["uri": "file:///example.png", "mimeType": "image/png", "blob": .string(Sample.png)]]]
        case let uri: ["contents": [.contents(uri, "text/plain", text: "Resource content")]]
        }
    }
}
