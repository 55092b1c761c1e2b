import Synchronization

/// The changes since the watch began, each reported once, to one reader at a time.
///
/// It collects while nobody reads, so a client that comes back has missed nothing.
package final class CatalogWatch: Sendable {
    private struct State {
        var pending = Changes()
        var reader: CheckedContinuation<Changes?, Never>?
        /// Which reader that is.
        var turn = 0

        mutating func takePending() -> Changes {
            defer { pending = Changes() }
            return pending
        }
    }

    private let catalog: LiveCatalog
    private let id: Int
    private let wants: @Sendable (Subject) -> Bool
    private let state = Mutex(State())

    init(catalog: LiveCatalog, id: Int, wants: @escaping @Sendable (Subject) -> Bool) {
        self.catalog = catalog
        self.id = id
        self.wants = wants
    }

    deinit { catalog.forget(id) }

    /// Waits for changes. Nil when the catalog is closed, the task cancelled, or another reader has come.
    package func next() async -> Changes? {
        let turn = state.withLock { state in
            state.turn += 1
            return state.turn
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Changes?, Never>) in
                let (ready, earlier) = state.withLock { state -> (Changes??, CheckedContinuation<Changes?, Never>?) in
                    let earlier = state.reader.take()
                    if catalog.isClosed || Task.isCancelled || state.turn != turn { return (.some(nil), earlier) }
                    if !state.pending.isEmpty { return (.some(state.takePending()), earlier) }
                    state.reader = continuation
                    return (nil, earlier)
                }
                earlier?.resume(returning: nil)
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            // Another reader may have come meanwhile.
            state.withLock { $0.turn == turn ? $0.reader.take() : nil }?.resume(returning: nil)
        }
    }

    /// Adds what this watch cares for, and wakes its reader.
    package func tell(_ changes: Changes) {
        let woken = state.withLock { state -> (CheckedContinuation<Changes?, Never>, Changes)? in
            state.pending.lists.formUnion(changes.lists)
            for subject in changes.subjects where wants(subject) { state.pending.subjects.insert(subject) }
            guard !state.pending.isEmpty, let reader = state.reader.take() else { return nil }
            return (reader, state.takePending())
        }
        if let (reader, changes) = woken { reader.resume(returning: changes) }
    }

    /// What the reader has not been told.
    var untold: Changes { state.withLock { $0.pending } }

    /// Sends the reader away; the watch goes on collecting.
    func dismiss() { state.withLock { $0.reader.take() }?.resume(returning: nil) }
}
