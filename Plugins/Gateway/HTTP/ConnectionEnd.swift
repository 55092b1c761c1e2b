import Synchronization

/// Tells the request that is being served on a connection when its client has gone.
final class ConnectionEnd: Sendable {
    /// The one of the connection whose task this is.
    @TaskLocal static var current: ConnectionEnd?

    /// What a request does about it.
    struct Handler: Sendable {
        /// The connection is closed.
        var gone: @Sendable () -> Void
        /// The client will send nothing more and may be gone: sending it something will tell.
        var suspected: @Sendable () -> Void = {}
    }

    private struct State {
        var hasEnded = false
        var isSuspected = false
        var handler: Handler?
    }

    private let state = Mutex(State())

    /// Called when the connection is closed.
    func fire() {
        let handler = state.withLock { state in
            state.hasEnded = true
            defer { state.handler = nil }
            return state.handler
        }
        handler?.gone()
    }

    /// Called when the client has ended its sending, some time ago.
    func suspect() {
        state.withLock { state in
            state.isSuspected = true
            return state.handler
        }?.suspected()
    }

    /// Sets what is done for the request that is served now; one is served at a time.
    func handle(_ handler: Handler?) {
        let (hasEnded, isSuspected) = state.withLock { state in
            state.handler = state.hasEnded ? nil : handler
            return (state.hasEnded, state.isSuspected)
        }
        if hasEnded { handler?.gone() } else if isSuspected { handler?.suspected() }
    }
}
