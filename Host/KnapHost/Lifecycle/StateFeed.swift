import KnapJSON
import Synchronization

/// Tells whoever watches of every change of a plugin's state.
final class StateFeed: Sendable {
    private struct State {
        var watchers: [Int: AsyncStream<JSON>.Continuation] = [:]
        var next = 0
    }
    private let state = Mutex(State())

    func tell(_ name: String, _ change: StateChange) {
        let event: JSON = [
            "name": .string(name), "state": .string(change.state.rawValue), "reason": .string(change.reason),
            "time_ms": .number(JSONNumber(change.time)),
        ]
        for watcher in state.withLock({ Array($0.watchers.values) }) { watcher.yield(event) }
    }

    /// Every change from now on. A reader that falls far behind loses the oldest.
    func changes() -> AsyncStream<JSON> {
        let (stream, continuation) = AsyncStream.makeStream(of: JSON.self, bufferingPolicy: .bufferingNewest(1000))
        let number = state.withLock { state in
            state.next += 1
            state.watchers[state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.watchers[number] = nil } }
        return stream
    }
}
