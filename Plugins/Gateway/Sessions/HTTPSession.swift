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
    private let state = Mutex(State())

    init(session: Session, changes: CatalogWatch) {
        self.session = session
        self.changes = changes
        general = SessionStream(name: tag + "-0")
    }

    func openStream() -> SessionStream {
        state.withLock { state in
            let stream = SessionStream(name: "\(tag)-\(state.nextStream)")
            state.streams[state.nextStream] = stream
            state.nextStream += 1
            if state.streams.count > Self.keptStreams, let oldest = state.streams.keys.min() {
                state.streams[oldest] = nil
            }
            return stream
        }
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
    func begin(_ id: RequestID, _ start: () -> Task<Void, Never>) -> RPCError? {
        state.withLock { state in
            if state.isEnded { return RPCError(.sessionNotFound, "The session has ended; initialize again.") }
            guard state.running[id] == nil else {
                return RPCError(.invalidRequest, "A request with this id is still running.")
            }
            guard state.running.count < Self.maximumRunning else {
                return RPCError(
                    .internalError, "This session has \(Self.maximumRunning) requests running; wait for one.")
            }
            state.running[id] = start()
            return nil
        }
    }

    /// A request is over. A stream on which nothing can be gone back to is forgotten.
    func ended(_ id: RequestID, _ stream: SessionStream) {
        stream.finish()
        state.withLock { state in
            state.running[id] = nil
            guard stream.isEmpty, let number = state.streams.first(where: { $0.value === stream })?.key else { return }
            state.streams[number] = nil
        }
    }

    /// The server goes: what runs is given up, and the session is left for the next generation.
    func giveUp() {
        session.questions.fail("The server is being replaced; call the tool again.")
        for task in state.withLock({ Array($0.running.values) }) { task.cancel() }
    }

    func cancel(_ id: RequestID) { state.withLock { $0.running.removeValue(forKey: id) }?.cancel() }

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

/// One stream of events in a session, and the last of them for a client that lost its connection.
final class SessionStream: Sendable {
    private struct State {
        var events: [(place: Int, event: StreamEvent)] = []
        var next = 1
        /// The response that is open now.
        var queue: EventQueue?
        var isFinished = false
    }

    /// Events that are kept to be sent again; older ones are gone.
    private static let kept = 64

    private let name: String
    private let state = Mutex(State())

    init(name: String) { self.name = name }

    /// Whether there is nothing to go back to.
    var isEmpty: Bool { state.withLock { $0.events.isEmpty } }

    /// Goes to the client, or waits for it to come back.
    func send(_ message: JSON) async { await send { .message(message, id: $0) } }

    /// A response that comes first is the whole answer, which is no stream and cannot be gone back to.
    func send(_ response: Response) async {
        let whole = state.withLock { $0.next == 1 ? $0.queue : nil }
        if let whole { return await whole.send(.response(response, id: nil)) }
        await send { .response(response, id: $0) }
    }

    private func send(_ make: (String) -> StreamEvent) async {
        let (event, queue) = state.withLock { state in
            let event = make("\(name)-\(state.next)")
            state.events.append((state.next, event))
            state.next += 1
            if state.events.count > Self.kept { state.events.removeFirst() }
            return (event, state.queue)
        }
        await queue?.send(event)
    }

    /// An event from which the client can go on with what comes next.
    func prime() -> StreamEvent { .prime(id: state.withLock { "\(name)-\($0.next - 1)" }) }

    /// Has an open response carry the stream from an event on; the response that carried it before ends.
    func attach(_ queue: EventQueue, after place: Int? = nil) -> [StreamEvent] {
        let (missed, earlier, isFinished) = state.withLock { state in
            let missed = place.map { place in state.events.filter { $0.place > place }.map(\.event) } ?? []
            let earlier = state.queue
            state.queue = state.isFinished ? nil : queue
            return (missed, earlier, state.isFinished)
        }
        earlier?.finish()
        if isFinished { queue.finish() }
        return missed
    }

    /// The response is gone; what comes waits.
    func detach(_ queue: EventQueue) {
        state.withLock { if $0.queue === queue { $0.queue = nil } }
        queue.abandon()
    }

    /// Nothing more will come.
    func finish() {
        state.withLock { state in
            state.isFinished = true
            return state.queue.take()
        }?.finish()
    }
}
