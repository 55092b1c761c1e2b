import Synchronization

/// Work that goes on when whoever asked for it has gone, until the server goes too.
final class LastingWork: Sendable {
    private struct State {
        var tasks: [Int: Task<Void, Never>] = [:]
        var next = 0
    }

    private let state = Mutex(State())

    func begin(_ work: @escaping @Sendable () async -> Void) {
        // Under the lock, so that it cannot end before it is registered.
        state.withLock { state in
            let number = state.next
            state.next += 1
            let task = Task {
                await work()
                self.state.withLock { _ = $0.tasks.removeValue(forKey: number) }
            }
            state.tasks[number] = task
        }
    }

    func giveUp() {
        for task in state.withLock({ Array($0.tasks.values) }) { task.cancel() }
    }
}
