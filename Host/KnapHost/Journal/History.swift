import KnapJSON
import Synchronization

/// What was done to plugins, by whom it was asked and how it ended: STATE/history.jsonl, on disk before the next thing is
/// done.
final class History: Sendable {
    private static let kept = 1000

    private struct State: ~Copyable {
        var journal: Journal
        var entries: [JSON]
    }
    private let state: Mutex<State>

    init(directory: String) throws(StoreError) {
        var entries: [JSON] = []
        let journal = try Journal(path: directory + "/history.jsonl") { entries = $0.entries }
        state = Mutex(State(journal: journal, entries: entries))
    }

    /// Blocks on the disk.
    func add(_ entry: JSON) throws(StoreError) {
        let result: Result<Void, StoreError> = state.withLock { state in
            Result { () throws(StoreError) in
                try state.journal.append(entry)
                state.entries.append(entry)
                guard state.entries.count > 2 * Self.kept else { return }
                state.entries.removeFirst(state.entries.count - Self.kept)
                try state.journal.rewrite(state.entries)
            }
        }
        try result.get()
    }

    /// The newest last.
    func entries(_ count: Int) -> [JSON] { state.withLock { $0.entries.suffix(count) } }
}
