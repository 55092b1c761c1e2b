import KnapJSON
import Synchronization

/// A session over HTTP: what the client said, what runs for it, and the streams that it may come back to.
final class HTTPSession: Sendable {
    private struct State {
        /// By the number of their stream, until they have ended.
        var running: [Int: Task<Void, Never>] = [:]
        /// Those that were not cancelled.
        var numbers: [RequestID: Int] = [:]
        /// By their number; the youngest are kept after their end.
        var streams: [Int: SessionStream] = [:]
        var nextStream = 1
        var isEnded = false
    }

    /// Streams that a client can still go back to once they have ended.
    private static let keptStreams = 16
    /// Requests that may run at once.
    private static let maximumRunning = 256

    let session: Session
    /// What changed and was not told yet, also while no stream is open to tell it on.
    let changes: CatalogWatch
    /// The stream for what belongs to no request.
    let general: SessionStream
    /// Begins every event's id, which so is never one that a session of the same id gave out in another process.
    private let tag = String(randomText().prefix(12))
    private let budget: ReplayBudget
    private let state = Mutex(State())

    init(session: Session, changes: CatalogWatch, budget: ReplayBudget) {
        self.session = session
        self.changes = changes
        self.budget = budget
        general = SessionStream(tag, 0, budget)
    }

    func openStream() -> SessionStream {
        state.withLock { state in
            let stream = SessionStream(tag, state.nextStream, budget)
            state.streams[state.nextStream] = stream
            state.nextStream += 1
            let ended = state.streams.keys.filter { state.running[$0] == nil }
            if ended.count > Self.keptStreams, let oldest = ended.min() { state.streams[oldest] = nil }
            return stream
        }
    }

    /// Whether requests run or a stream is open.
    var isInUse: Bool {
        let (isRunning, streams) = state.withLock { (!$0.running.isEmpty, Array($0.streams.values)) }
        return isRunning || (streams + [general]).contains(where: \.isOpen)
    }

    /// Drops what is kept of all streams; they go on from here.
    func forgetEvents() {
        for stream in state.withLock({ Array($0.streams.values) }) + [general] { stream.forgetEvents() }
    }

    /// The stream that an event's id is of, and the event's place in it.
    func stream(of eventID: String) -> (stream: SessionStream, place: Int)? {
        let parts = eventID.split(separator: "-")
        guard parts.count == 3, parts[0] == tag, let number = Int(parts[1]), let place = Int(parts[2])
        else { return nil }
        if number == 0 { return (general, place) }
        return state.withLock { $0.streams[number] }.map { ($0, place) }
    }

    /// Starts the task of a request, so that the client can cancel it. Answers why it cannot be.
    func begin(_ id: RequestID, on stream: SessionStream, _ start: () -> Task<Void, Never>) -> RPCError? {
        state.withLock { state in
            if state.isEnded { return RPCError(.sessionNotFound, "The session has ended; initialize again.") }
            guard state.numbers[id] == nil else {
                return RPCError(.invalidRequest, "A request with this id is still running.")
            }
            guard state.running.count < Self.maximumRunning else {
                return RPCError(
                    .internalError, "This session has \(Self.maximumRunning) requests running; wait for one.")
            }
            state.running[stream.number] = start()
            state.numbers[id] = stream.number
            return nil
        }
    }

    /// A request's id may be used again: clients do as soon as they have the answer.
    func release(_ id: RequestID, of stream: SessionStream) {
        state.withLock { state in
            // It may be another request's by now.
            if state.numbers[id] == stream.number { state.numbers[id] = nil }
        }
    }

    /// A request is over. A stream on which nothing can be gone back to is forgotten.
    func ended(_ stream: SessionStream) {
        stream.finish()
        state.withLock { state in
            state.running[stream.number] = nil
            if stream.isEmpty { state.streams[stream.number] = nil }
        }
    }

    /// The server goes: what runs is given up, and the session is left for the next generation.
    func giveUp() {
        session.questions.fail("The server is being replaced; call the tool again.")
        for task in state.withLock({ Array($0.running.values) }) { task.cancel() }
    }

    func cancel(_ id: RequestID) {
        state.withLock { state in state.numbers.removeValue(forKey: id).flatMap { state.running[$0] } }?.cancel()
    }

    /// Nothing was begun on a stream.
    func forget(_ stream: SessionStream) { state.withLock { _ = $0.streams.removeValue(forKey: stream.number) } }

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
