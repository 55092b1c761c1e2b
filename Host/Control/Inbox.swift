import Synchronization

/// What an attached client has sent: the connection's thread fills it, one task empties it.
final class Inbox: Sendable {
    /// The thread reads on as long as less than this waits for the task.
    static let capacity = 256 << 10

    private struct State {
        var bytes: [UInt8] = []
        var isFinished = false
        var waiting: CheckedContinuation<[UInt8]?, Never>?
    }

    private let state = Mutex(State())
    private let event: Event

    init(event: Event) { self.event = event }

    var hasRoom: Bool { state.withLock { $0.bytes.count < Self.capacity && !$0.isFinished } }

    func append(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        let waiting = state.withLock { state -> CheckedContinuation<[UInt8]?, Never>? in
            defer { state.waiting = nil }
            if state.waiting == nil { state.bytes += bytes }
            return state.waiting
        }
        waiting?.resume(returning: bytes)
    }

    /// The client will send no more.
    func finish() {
        let waiting = state.withLock { state in
            state.isFinished = true
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume(returning: nil)
    }

    /// All that waits, or the next that comes; nil at the end.
    func next() async -> [UInt8]? {
        await withCheckedContinuation { continuation in
            let (answer, wasFull) = state.withLock { state -> ([UInt8]??, Bool) in
                guard state.bytes.isEmpty else {
                    defer { state.bytes = [] }
                    return (state.bytes, state.bytes.count >= Self.capacity)
                }
                if state.isFinished { return (.some(nil), false) }
                state.waiting = continuation
                return (nil, false)
            }
            if wasFull { event.signal() }
            if let answer { continuation.resume(returning: answer) }
        }
    }
}
