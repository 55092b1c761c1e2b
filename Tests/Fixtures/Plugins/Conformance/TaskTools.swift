import KnapPlugin

/// Tools that run as tasks where the client knows them, and one that never does.
extension Conformance {
    static let taskTools: [Method<Conformance>] = [
        .result("greet", greet),
        .result("slow_compute", slowCompute),
        .result("failing_job", failingJob),
        .result("protocol_error_job", protocolErrorJob),
        .result("confirm_delete", confirmDelete),
        .result("multi_input", multiInput),
        .result("test_tool_with_task", toolWithTask),
    ]

    struct Person: Decodable {
        var name: String
    }

    func greet(_ person: Person, _ call: Call) async throws -> JSON { .said("Hello, \(person.name)!") }

    struct Computation: Decodable {
        var seconds: Double
        var label: String?
    }

    func slowCompute(_ computation: Computation, _ call: Call) async throws -> JSON {
        call.progress(0, of: computation.seconds, "Computing \(computation.label ?? "")")
        try await host.timers.sleep(for: .seconds(computation.seconds))
        return .said("Computed \(computation.label ?? "") for \(computation.seconds) seconds")
    }

    func failingJob(_ input: Empty, _ call: Call) async throws -> JSON {
        .said("The job failed as it should", isError: true)
    }

    func protocolErrorJob(_ input: Empty, _ call: Call) async throws -> JSON {
        ["error": ["code": -32603, "message": "The job broke the protocol as it should", "data": ["job": "broken"]]]
    }

    func confirmDelete(_ asked: Asked, _ call: Call) async throws -> JSON {
        let file = asked.argument("filename")
        let question = Question.form("confirm", "Delete \(file)?", ["confirm": ["type": "boolean"]])
        guard let answer = asked.answer(to: question) else { return .asking([question]) }
        return .said(answer.field("confirm")?.boolValue == true ? "Deleted \(file)" : "Kept \(file)")
    }

    /// Two questions at once, which may be answered one after the other.
    func multiInput(_ asked: Asked, _ call: Call) async throws -> JSON {
        let questions = ["first", "second"].map { key in
            Question.form(key, "What is the \(key) name?", ["name": ["type": "string"]])
        }
        let missing = questions.filter { asked.answer(to: $0) == nil }
        guard missing.isEmpty else { return .asking(missing) }
        let names = questions.compactMap { asked.answer(to: $0)?.field("name")?.stringValue }
        return .said("Names: \(names.joined(separator: ", "))")
    }

    /// Asks first, and works then: as a task, where the client knows tasks.
    func toolWithTask(_ asked: Asked, _ call: Call) async throws -> JSON {
        if let name = asked.requestState { return .said("Worked for \(name)") }
        guard let answer = asked.answer(to: Self.userName) else { return .asking([Self.userName]) }
        return ["resultType": "task", "requestState": answer.field("name") ?? "nobody"]
    }
}
