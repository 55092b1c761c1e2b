import Synchronization

/// Events on their way to one HTTP response, with one reader.
///
/// Whoever sends waits while the client does not read, so nothing piles up here.
final class EventQueue: Sendable {
    private struct State {
        var events: [StreamEvent] = []
        var reader: CheckedContinuation<StreamEvent?, Never>?
        var writers: [CheckedContinuation<Void, Never>] = []
        /// No more will be sent.
        var isFinished = false
        /// Nobody reads any more.
        var isAbandoned = false
    }

    /// More events than this wait for nobody.
    private static let capacity = 16

    private let state = Mutex(State())

    /// Returns when there is room for more, or nobody reads any more.
    func send(_ event: StreamEvent) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let (reader, mayGoOn) = state.withLock { state -> (CheckedContinuation<StreamEvent?, Never>?, Bool) in
                if state.isAbandoned || state.isFinished { return (nil, true) }
                if let reader = state.reader.take() { return (reader, true) }
                state.events.append(event)
                if state.events.count < Self.capacity { return (nil, true) }
                state.writers.append(continuation)
                return (nil, false)
            }
            reader?.resume(returning: event)
            if mayGoOn { continuation.resume() }
        }
    }

    /// Sends if nothing waits before it, else drops it.
    func offer(_ event: StreamEvent) {
        let reader = state.withLock { state -> CheckedContinuation<StreamEvent?, Never>? in
            guard state.events.isEmpty, !state.isAbandoned, !state.isFinished else { return nil }
            if let reader = state.reader.take() { return reader }
            state.events.append(event)
            return nil
        }
        reader?.resume(returning: event)
    }

    /// The next event; nil when there are no more.
    func next() async -> StreamEvent? {
        await withCheckedContinuation { (continuation: CheckedContinuation<StreamEvent?, Never>) in
            let (ready, writers) = state.withLock { state -> (StreamEvent??, [CheckedContinuation<Void, Never>]) in
                guard state.events.isEmpty else {
                    let writers = state.writers
                    state.writers = []
                    return (.some(state.events.removeFirst()), writers)
                }
                if state.isFinished || state.isAbandoned { return (.some(nil), []) }
                state.reader = continuation
                return (nil, [])
            }
            for writer in writers { writer.resume() }
            if let ready { continuation.resume(returning: ready) }
        }
    }

    /// Nothing more will be sent; what waits is still read.
    func finish() {
        let reader = state.withLock { state in
            state.isFinished = true
            return state.events.isEmpty ? state.reader.take() : nil
        }
        reader?.resume(returning: nil)
    }

    /// The connection is gone: what waits is dropped, and nobody waits for it any more.
    func abandon() {
        let (reader, writers) = state.withLock { state in
            state.isAbandoned = true
            state.events = []
            defer { state.writers = [] }
            return (state.reader.take(), state.writers)
        }
        reader?.resume(returning: nil)
        for writer in writers { writer.resume() }
    }
}
