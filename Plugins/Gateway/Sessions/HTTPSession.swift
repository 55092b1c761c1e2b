import KnapJSON
import Synchronization

/// A session over HTTP: what the client said, what runs for it, and the streams that it may come back to.
final class HTTPSession: Sendable {
    private struct State {
        var running: [RequestID: Task<Void, Never>] = [:]
        /// By their number; the youngest are kept after their end.
        var streams: [Int: SessionStream] = [:]
        var nextStream = 1
        var isEnded = false
    }

    /// Streams that a client can still go back to.
    private static let keptStreams = 64

    let session: Session
    /// What changed and was not told yet, also while no stream is open to tell it on.
    let changes: CatalogWatch
    /// The stream for what belongs to no request.
    let general: SessionStream
    private let budget: ReplayBudget
    private let state = Mutex(State())

    init(session: Session, changes: CatalogWatch, budget: ReplayBudget) {
        self.session = session
        self.changes = changes
        self.budget = budget
        general = SessionStream(number: 0, budget: budget)
    }

    func openStream() -> SessionStream {
        state.withLock { state in
            let stream = SessionStream(number: state.nextStream, budget: budget)
            state.streams[state.nextStream] = stream
            state.nextStream += 1
            if state.streams.count > Self.keptStreams, let oldest = state.streams.keys.min() { state.streams[oldest] = nil }
            return stream
        }
    }

    /// Keeps nothing of a stream to which its client cannot come back, because it was told no event's id.
    func forget(_ stream: SessionStream) {
        stream.keepNothing()
        state.withLock { _ = $0.streams.removeValue(forKey: stream.number) }
    }

    /// Drops what is kept of all streams; they go on from here.
    func forgetEvents() {
        for stream in state.withLock({ Array($0.streams.values) }) + [general] { stream.forgetEvents() }
    }

    /// The stream that an event's id is of, and the event's place in it; nil also where what came after it is gone.
    func stream(of eventID: String) -> (stream: SessionStream, place: Int)? {
        let parts = eventID.split(separator: "-")
        guard parts.count == 2, let number = Int(parts[0]), let place = Int(parts[1]) else { return nil }
        if number == 0 { return (general, place) }
        guard let stream = state.withLock({ $0.streams[number] }), stream.isWhole(after: place) else { return nil }
        return (stream, place)
    }

    /// Registers the task of a request, so that the client can cancel it. False where the id is in use.
    func begin(_ id: RequestID, _ start: () -> Task<Void, Never>) -> Task<Void, Never>? {
        state.withLock { state in
            guard state.running[id] == nil, !state.isEnded else { return nil }
            let task = start()
            state.running[id] = task
            return task
        }
    }

    func ended(_ id: RequestID) { state.withLock { _ = $0.running.removeValue(forKey: id) } }

    func cancel(_ id: RequestID) { state.withLock { $0.running.removeValue(forKey: id) }?.cancel() }

    func giveUp() {
        for task in state.withLock({ Array($0.running.values) }) { task.cancel() }
    }

    /// The client has ended the session, or it has been given up.
    func end() {
        let (tasks, streams) = state.withLock { state in
            state.isEnded = true
            return (Array(state.running.values), Array(state.streams.values))
        }
        for task in tasks { task.cancel() }
        for stream in streams + [general] { stream.finish() }
        session.questions.close()
    }
}
