import Synchronization

/// Tells the request that is being served on a connection when its client has gone.
final class ConnectionEnd: Sendable {
    /// The one of the connection whose task this is.
    @TaskLocal static var current: ConnectionEnd?

    private struct State {
        var hasEnded = false
        var handler: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    /// Called when the connection is closed.
    func fire() {
        let handler = state.withLock { state in
            state.hasEnded = true
            defer { state.handler = nil }
            return state.handler
        }
        handler?()
    }

    /// Runs the handler when the connection ends; one request is served at a time, so there is one handler.
    func handle(_ handler: (@Sendable () -> Void)?) {
        let hasEnded = state.withLock { state in
            state.handler = state.hasEnded ? nil : handler
            return state.hasEnded
        }
        if hasEnded { handler?() }
    }

    /// Does a piece of work that is cancelled when the client goes, or the task that waits for it is cancelled.
    static func cancelling<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) async -> Value {
        let task = Task { await work() }
        current?.handle { task.cancel() }
        defer { current?.handle(nil) }
        return await withTaskCancellationHandler { await task.value } onCancel: { task.cancel() }
    }
}
