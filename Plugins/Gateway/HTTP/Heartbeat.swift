import Synchronization

/// Keeps every open stream alive with one clock: a comment at each beat, where nothing else was said.
final class Heartbeat: Sendable {
    private struct State {
        /// The beats that each has seen.
        var queues: [ObjectIdentifier: (queue: EventQueue, beats: Int)] = [:]
        var isBeating = false
    }

    /// Shorter than what proxies and clients take for a dead connection.
    static let interval = Duration.seconds(10)

    private let state = Mutex(State())

    func add(_ queue: EventQueue) {
        let starts = state.withLock { state in
            state.queues[ObjectIdentifier(queue)] = (queue, 0)
            defer { state.isBeating = true }
            return !state.isBeating
        }
        if starts { Task { await beat() } }
    }

    func remove(_ queue: EventQueue) { state.withLock { _ = $0.queues.removeValue(forKey: ObjectIdentifier(queue)) } }

    /// Beats for as long as there are streams. The first beat spares a stream, which may be a moment old.
    private func beat() async {
        while true {
            try? await Task.sleep(for: Self.interval)
            let due = state.withLock { state in
                state.isBeating = !state.queues.isEmpty
                let due = state.queues.values.filter { $0.beats > 0 }.map(\.queue)
                for key in state.queues.keys { state.queues[key]?.beats += 1 }
                return state.isBeating ? due : nil
            }
            guard let due else { return }
            for queue in due { queue.offer(.keepAlive) }
        }
    }
}
