import Synchronization

/// Work that goes on when whoever asked for it has gone, until the server goes too.
final class LastingWork: Sendable {
    private struct State {
        var tasks: [Int: Task<Void, Never>] = [:]
        var next = 0
    }

    /// More is not begun.
    static let maximum = 1024

    private let state = Mutex(State())

    /// False where there is too much.
    func begin(_ work: @escaping @Sendable () async -> Void) -> Bool {
        // Under the lock, so that it cannot end before it is registered.
        state.withLock { state in
            guard state.tasks.count < Self.maximum else { return false }
            let number = state.next
            state.next += 1
            let task = Task {
                await work()
                self.state.withLock { _ = $0.tasks.removeValue(forKey: number) }
            }
            state.tasks[number] = task
            return true
        }
    }

    func giveUp() {
        for task in state.withLock({ Array($0.tasks.values) }) { task.cancel() }
    }
}
