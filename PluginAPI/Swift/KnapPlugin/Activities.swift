import Synchronization

/// What waits for the host on behalf of an active instance, and has to be told when the instance is suspended.
///
/// The host ends an instance's timers and watches with its suspension, silently. A task that waits for one would wait
/// for ever.
final class Activities: Sendable {
    private struct State {
        var next: UInt64 = 0
        var ends: [UInt64: @Sendable () -> Void] = [:]
    }

    private let state = Mutex(State())

    var count: Int { state.withLock { $0.ends.count } }

    /// Has `end` called at the next suspension, unless it is removed before.
    func add(_ end: @escaping @Sendable () -> Void) -> UInt64 {
        state.withLock { state in
            state.next += 1
            state.ends[state.next] = end
            return state.next
        }
    }

    func remove(_ id: UInt64) {
        // The closure is released after the lock: what it holds may have a deinit of its own.
        let end = state.withLock { $0.ends.removeValue(forKey: id) }
        withExtendedLifetime(end) {}
    }

    func endAll() {
        let ends = state.withLock { state in
            let ends = state.ends.values.map { $0 }
            state.ends = [:]
            return ends
        }
        for end in ends { end() }
    }
}
