import Synchronization

/// Watches the load of a pool while calls wait or it is larger than its least size, and asks for changes of its size.
///
/// It sleeps otherwise: the first call that finds all workers busy wakes it (Host/Link/group.c).
final class PoolScaling: Sendable {
    enum Change: Sendable { case grow, recalled, removeDrained }

    private let bounds: Pool
    /// Carries a change out; false when it could not.
    private let resize: @Sendable (Change) async -> Bool
    private let state = Mutex(State())

    private struct State {
        weak var group: WorkerGroup?
        var isRunning = false
        var isStopped = false
        /// A long pause that pressure ends.
        var pause: Task<Void, Never>?
    }

    init(_ bounds: Pool, _ resize: @escaping @Sendable (Change) async -> Bool) {
        self.bounds = bounds
        self.resize = resize
    }

    func watch(_ group: WorkerGroup) { state.withLock { $0.group = group } }

    /// A call has to wait, or the pool may be larger than need be. Returns at once.
    func pressed() {
        guard bounds.maximum > bounds.minimum else { return }
        let starts = state.withLock { state in
            if state.isStopped { return false }
            state.pause?.cancel()
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if starts { Task.detached { await self.run() } }
    }

    func stop() {
        state.withLock { state in
            state.isStopped = true
            state.pause?.cancel()
        }
    }

    private func run() async {
        var sizing = PoolSizing(bounds)
        while let group = state.withLock({ $0.isStopped ? nil : $0.group }) {
            if group.hasDrained { _ = await resize(.removeDrained) }
            let members = group.members
            let serving = members.filter { !$0.isDraining }
            guard !serving.isEmpty else { return }
            switch sizing.look(at: .now, inFlight: serving.map { $0.code.process.outgoing }) {
            case .hold: break
            case .grow:
                if group.recall() { _ = await resize(.recalled) } else if await !resize(.grow) { sizing.couldNotGrow(at: .now) }
            case .shrink: _ = group.drainOne()
            }
            // However often calls find all busy, looks keep this distance.
            try? await Task.sleep(for: sizing.shortPause)
            if sizing.isBusy { continue }
            if members.count > bounds.minimum {
                await pause(sizing, group, members)
            } else if rest(group) {
                return
            }
        }
    }

    private func pause(_ sizing: PoolSizing, _ group: WorkerGroup, _ members: [WorkerGroup.Member]) async {
        // What drains ends soon, most often.
        let isDraining = members.contains { $0.isDraining }
        let length = isDraining ? min(sizing.longPause, .milliseconds(100)) : sizing.longPause
        let pause = Task<Void, Never> { try? await Task.sleep(for: length) }
        let isStopped = state.withLock { state in
            state.pause = pause
            return state.isStopped
        }
        if isStopped { return pause.cancel() }
        if members.count < bounds.maximum { group.rearm() }
        await pause.value
        state.withLock { $0.pause = nil }
    }

    /// Ends the watch until a call has to wait again.
    private func rest(_ group: WorkerGroup) -> Bool {
        state.withLock { $0.isRunning = false }
        group.rearm()
        return true
    }
}
