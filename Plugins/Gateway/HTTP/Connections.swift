import Synchronization

/// The connections that are open, each with the task that serves it, and how many requests are being answered.
///
/// A connection belongs to its task from the moment it is there: one that nobody serves would end the process, because
/// its writer must be finished before it goes.
final class Connections: Sendable {
    private struct State {
        var tasks: [Int: Task<Void, Never>] = [:]
        /// Those from which no request has come yet; one may be on its way.
        var fresh: Set<Int> = []
        var requests = 0
        var next = 0
        var isClosing = false
    }

    /// The connection that this task serves.
    @TaskLocal static var current = 0

    private let state = Mutex(State())

    /// Serves a connection in a task of its own.
    func add(_ serve: @escaping @Sendable () async -> Void) {
        state.withLock { state in
            state.next += 1
            let number = state.next
            state.fresh.insert(number)
            let task = Task {
                await Self.$current.withValue(number) { await serve() }
                remove(number)
            }
            state.tasks[number] = task
            if state.isClosing { task.cancel() }
        }
    }

    private func remove(_ number: Int) {
        state.withLock { state in
            state.tasks[number] = nil
            state.fresh.remove(number)
        }
    }

    func requestBegins() {
        state.withLock { state in
            state.fresh.remove(Self.current)
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

    /// Closes all, and returns when they are closed.
    func close() async {
        let tasks = state.withLock { state in
            state.isClosing = true
            return Array(state.tasks.values)
        }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }
}
