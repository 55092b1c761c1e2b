import KnapJSON
import Synchronization

/// What a client of the handshake era was asked, until it answers.
package final class Questions: Sendable {
    private typealias Answer = Result<JSON, RPCError>

    private struct Question {
        var answer: Answer?
        var reader: CheckedContinuation<Answer, Never>?
    }

    private struct State {
        var open: [RequestID: Question] = [:]
        var isClosed = false
    }

    /// People are slow to answer; longer than this they have gone.
    package static let patience = Duration.seconds(3600)

    private let patience: Duration
    private let state = Mutex(State())

    package init(patience: Duration = Questions.patience) { self.patience = patience }

    /// How many wait for their answers.
    var count: Int { state.withLock { $0.open.count } }

    /// Asks and waits for the answer. Cancelling the task takes the question back, which the client is told.
    package func ask(
        _ method: String, _ params: JSONObject, send: @escaping @Sendable (ServerMessage) async -> Void
    ) async throws(RPCError) -> JSON {
        let id = RequestID.random()
        let isClosed = state.withLock { state in
            if !state.isClosed { state.open[id] = Question() }
            return state.isClosed
        }
        guard !isClosed else { throw Self.gone }
        await send(.request(Request(id: id, method: method, params: params)))
        let timer = Task { [patience] in
            guard (try? await Task.sleep(for: patience)) != nil else { return }
            finish(id, .failure(RPCError(.cancelled, "Nobody answered \(method).")))
        }
        defer { timer.cancel() }
        let answer = await answer(to: id)
        if case .failure(let error) = answer, error.code == .cancelled {
            let notification = Notification(
                "notifications/cancelled", ["requestId": id.json, "reason": .string(error.message)])
            await send(.notification(notification))
        }
        return try answer.get()
    }

    private func answer(to id: RequestID) async -> Answer {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (reader: CheckedContinuation<Answer, Never>) in
                let ready = state.withLock { state -> Answer? in
                    let ready = Task.isCancelled ? .failure(Self.takenBack) : state.open[id]?.answer
                    if ready == nil { state.open[id]?.reader = reader } else { state.open[id] = nil }
                    return ready
                }
                if let ready { reader.resume(returning: ready) }
            }
        } onCancel: {
            finish(id, .failure(Self.takenBack))
        }
    }

    /// Takes the client's answer; one to nothing that was asked is dropped.
    func take(_ response: ClientResponse) {
        guard let id = response.id else { return }
        finish(id, response.outcome)
    }

    /// Gives up waiting for all that is open.
    func fail(_ reason: String) {
        for id in state.withLock({ Array($0.open.keys) }) { finish(id, .failure(RPCError(.cancelled, reason))) }
    }

    /// The client is gone: nothing will be answered any more.
    func close() {
        state.withLock { $0.isClosed = true }
        fail(Self.gone.message)
    }

    private func finish(_ id: RequestID, _ answer: Answer) {
        let reader = state.withLock { state -> CheckedContinuation<Answer, Never>? in
            guard let question = state.open[id], question.answer == nil else { return nil }
            if question.reader == nil { state.open[id]?.answer = answer } else { state.open[id] = nil }
            return question.reader
        }
        reader?.resume(returning: answer)
    }

    private static let gone = RPCError(.cancelled, "The client is gone.")
    private static let takenBack = RPCError(.cancelled, "The request was cancelled.")
}

extension RequestID {
    /// One that nobody can guess and no other request has.
    static func random() -> RequestID { RequestID(string: "knap-" + randomText()) }
}
