import NIOCore
import Synchronization

/// The connections that are open, and how many requests are being answered.
final class Connections: Sendable {
    private struct State {
        var open: [ObjectIdentifier: any Channel] = [:]
        /// Those from which no request has come yet; one may be on its way.
        var fresh: Set<ObjectIdentifier> = []
        var requests = 0
        var isClosing = false
    }

    private let state = Mutex(State())

    var count: Int { state.withLock { $0.open.count } }

    func add(_ connection: any Channel) {
        let key = ObjectIdentifier(connection)
        let isClosing = state.withLock { state in
            state.open[key] = connection
            state.fresh.insert(key)
            return state.isClosing
        }
        connection.closeFuture.whenComplete { [self] _ in
            state.withLock { state in
                state.open[key] = nil
                state.fresh.remove(key)
            }
        }
        if isClosing { connection.close(promise: nil) }
    }

    func requestBegins(on connection: any Channel) {
        state.withLock { state in
            state.fresh.remove(ObjectIdentifier(connection))
            state.requests += 1
        }
    }

    func requestEnds() { state.withLock { $0.requests -= 1 } }

    /// Returns when no request is being answered or on its way, as far as that can be known, or the time is over.
    func settle(requests patience: Duration, fresh shortPatience: Duration) async {
        let began = ContinuousClock.now
        while true {
            let (requests, fresh) = state.withLock { ($0.requests, $0.fresh.count) }
            let spent = ContinuousClock.now - began
            if (requests == 0 || spent > patience) && (fresh == 0 || spent > shortPatience) { return }
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    /// Takes connections again after all were closed.
    func open() { state.withLock { $0.isClosing = false } }

    /// Closes all, and returns when they are closed. What clients have not read when the time is over is lost to them.
    func close(within patience: Duration) async {
        let open = state.withLock { state in
            state.isClosing = true
            return Array(state.open.values)
        }
        for connection in open { connection.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        let force = Task {
            guard (try? await Task.sleep(for: patience)) != nil else { return }
            for connection in open { connection.close(promise: nil) }
        }
        for connection in open { try? await connection.closeFuture.get() }
        force.cancel()
    }
}
