import Synchronization

/// What a connection has to send: tasks fill it, the connection's thread empties it.
///
/// A task that has filled it waits, so a client that does not read holds back its own call and nothing else.
final class Outbox: Sendable {
    /// A task goes on as long as less than this waits to be sent.
    static let capacity = 256 << 10

    private struct State {
        var bytes: [UInt8] = []
        var isFinished = false
        /// The client is gone: what is appended is dropped.
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let event: Event

    init(event: Event) { self.event = event }

    func append(_ bytes: [UInt8]) async {
        let isFull = state.withLock {
            if !$0.isClosed { $0.bytes += bytes }
            return $0.bytes.count >= Self.capacity
        }
        event.signal()
        if isFull { await room() }
    }

    /// Nothing more will be appended.
    func finish() {
        state.withLock { $0.isFinished = true }
        event.signal()
    }

    private func room() async {
        await withCheckedContinuation { continuation in
            let goesOn = state.withLock {
                if $0.isClosed || $0.bytes.count < Self.capacity { return true }
                $0.waiting.append(continuation)
                return false
            }
            if goesOn { continuation.resume() }
        }
    }

    /// Whether there is something to take, if only the end.
    var hasMore: Bool { state.withLock { !$0.bytes.isEmpty || $0.isFinished } }

    /// All that waits to be sent, and whether nothing ever will again.
    func take() -> (bytes: [UInt8], isLast: Bool) {
        let (bytes, isLast, waiting) = state.withLock { state in
            defer { (state.bytes, state.waiting) = ([], []) }
            return (state.bytes, state.isFinished, state.waiting)
        }
        for continuation in waiting { continuation.resume() }
        return (bytes, isLast)
    }

    func close() {
        state.withLock { $0.isClosed = true }
        _ = take()
    }
}
