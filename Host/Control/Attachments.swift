import Synchronization

/// How many clients are attached; whoever watches hears every change, the latest number first.
package final class Attachments: Sendable {
    private struct State {
        var count = 0
        var watchers: [AsyncStream<Int>.Continuation] = []
    }

    private let state = Mutex(State())

    init() {}

    /// The number at once and then after every change.
    package func counts() -> AsyncStream<Int> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            state.withLock {
                $0.watchers.append(continuation)
                continuation.yield($0.count)
            }
        }
    }

    func enter() { change(by: 1) }
    func leave() { change(by: -1) }

    private func change(by difference: Int) {
        state.withLock { state in
            state.count += difference
            for watcher in state.watchers { watcher.yield(state.count) }
        }
    }
}
