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
}
