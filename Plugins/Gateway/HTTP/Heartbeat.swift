import Synchronization

/// An answer that is open for long and is to be seen to live.
protocol KeptAlive: AnyObject, Sendable {
    /// Sends something that means nothing, if nothing else waits to go out.
    func keepAlive()
}

/// Keeps every open answer alive with one clock: a comment at each beat.
final class Heartbeat: Sendable {
    private struct Entry {
        weak var answer: (any KeptAlive)?
        /// The beats that it has seen.
        var beats = 0
    }

    private struct State {
        var entries: [ObjectIdentifier: Entry] = [:]
        var isBeating = false
    }

    /// Shorter than what proxies and clients take for a dead connection.
    static let interval = Duration.seconds(10)

    private let state = Mutex(State())

    /// Beats for an answer until it removes itself, which it does at its end.
    func add(_ answer: any KeptAlive) {
        let starts = state.withLock { state in
            state.entries[ObjectIdentifier(answer)] = Entry(answer: answer)
            defer { state.isBeating = true }
            return !state.isBeating
        }
        if starts { Task { await beat() } }
    }

    func remove(_ answer: any KeptAlive) {
        let key = ObjectIdentifier(answer)
        state.withLock { _ = $0.entries.removeValue(forKey: key) }
    }

    /// Beats for as long as there are answers. The first beat spares one, which may be a moment old.
    private func beat() async {
        while true {
            try? await Task.sleep(for: Self.interval)
            let due = state.withLock { state -> [any KeptAlive]? in
                state.isBeating = !state.entries.isEmpty
                guard state.isBeating else { return nil }
                let due = state.entries.values.filter { $0.beats > 0 }.compactMap(\.answer)
                for key in state.entries.keys { state.entries[key]?.beats += 1 }
                return due
            }
            guard let due else { return }
            for answer in due { answer.keepAlive() }
        }
    }
}
