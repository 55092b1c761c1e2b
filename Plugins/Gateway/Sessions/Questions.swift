import KnapJSON
import Synchronization

/// What a client of the handshake era was asked, until it answers.
final class Questions: Sendable {
    private typealias Answer = Result<JSON, RPCError>

    private struct State {
        var open: [RequestID: CheckedContinuation<Answer, Never>] = [:]
        var isClosed = false
    }

    private let state = Mutex(State())

    /// Asks and waits for the answer. Cancelling the task takes the question back.
    func ask(
        _ method: String, _ params: JSONObject, send: @escaping @Sendable (ServerMessage) async -> Void
    ) async throws(RPCError) -> JSON {
        let id = RequestID.random()
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
                let isClosed = state.withLock { state in
                    if !state.isClosed { state.open[id] = continuation }
                    return state.isClosed
                }
                guard !isClosed else { return continuation.resume(returning: .failure(Self.gone)) }
                guard !Task.isCancelled else {
                    finish(id, .failure(Self.takenBack))
                    return
                }
                // Not awaited: the answer may be here before the sending is known to be over.
                Task { await send(.request(Request(id: id, method: method, params: params))) }
            }
        } onCancel: {
            guard finish(id, .failure(Self.takenBack)) else { return }
            Task { await send(.notification(Notification("notifications/cancelled", ["requestId": id.json]))) }
        }
        return try answer.get()
    }

    /// Takes the client's answer; one to nothing that was asked is dropped.
    func take(_ response: ClientResponse) {
        guard let id = response.id else { return }
        finish(id, response.outcome)
    }

    /// The client is gone: nothing will be answered any more.
    func close() {
        let open = state.withLock { state in
            state.isClosed = true
            defer { state.open = [:] }
            return Array(state.open.values)
        }
        for continuation in open { continuation.resume(returning: .failure(Self.gone)) }
    }

    @discardableResult
    private func finish(_ id: RequestID, _ answer: Answer) -> Bool {
        let continuation = state.withLock { $0.open.removeValue(forKey: id) }
        continuation?.resume(returning: answer)
        return continuation != nil
    }

    private static let gone = RPCError(.cancelled, "The client is gone.")
    private static let takenBack = RPCError(.cancelled, "The question was taken back.")
}

extension RequestID {
    /// One that nobody can guess and no other request has.
    static func random() -> RequestID {
        let text = (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }.joined()
        return RequestID(string: "knap-" + text)
    }
}
