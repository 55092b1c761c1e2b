import Gateway
import KnapJSON
import Synchronization
import Testing

@Suite struct QuestionTests {
    /// What a client was sent.
    private final class Sent: Sendable {
        private let messages = Mutex<[JSON]>([])
        var all: [JSON] { messages.withLock { $0 } }
        func add(_ message: ServerMessage) { messages.withLock { $0.append(message.json) } }
    }

    @Test func `a question that nobody answers is given up and taken back`() async {
        let questions = Questions(patience: .milliseconds(1))
        let sent = Sent()
        let error = await #expect(throws: RPCError.self) {
            try await questions.ask("elicitation/create", ["message": "Who?"]) { sent.add($0) }
        }
        #expect(error?.code == .cancelled && error?.message.contains("Nobody answered") == true)
        let messages = sent.all
        #expect(messages.map { $0["method"] } == ["elicitation/create", "notifications/cancelled"])
        #expect(messages.last?["params"]?["requestId"] == messages.first?["id"])
    }

    @Test func `a question is taken back when its request is cancelled`() async {
        let questions = Questions()
        let sent = Sent()
        let asking = Task { try await questions.ask("roots/list", [:]) { sent.add($0) } }
        while sent.all.isEmpty { await Task.yield() }
        asking.cancel()
        await #expect(throws: RPCError.self) { try await asking.value }
        #expect(sent.all.last?["method"] == "notifications/cancelled")
    }
}
