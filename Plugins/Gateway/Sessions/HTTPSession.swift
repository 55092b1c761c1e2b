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
    private let state = Mutex(State())

    init(session: Session, changes: CatalogWatch) {
        self.session = session
        self.changes = changes
        general = SessionStream(number: 0)
    }

    func openStream() -> SessionStream {
        state.withLock { state in
            let stream = SessionStream(number: state.nextStream)
            state.streams[state.nextStream] = stream
            state.nextStream += 1
            if state.streams.count > Self.keptStreams, let oldest = state.streams.keys.min() { state.streams[oldest] = nil }
            return stream
        }
    }

    /// The stream that an event's id is of, and the event's place in it.
    func stream(of eventID: String) -> (stream: SessionStream, place: Int)? {
        let parts = eventID.split(separator: "-")
        guard parts.count == 2, let number = Int(parts[0]), let place = Int(parts[1]) else { return nil }
        if number == 0 { return (general, place) }
        return state.withLock { $0.streams[number] }.map { ($0, place) }
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
    private static let kept = 256

    private let number: Int
    private let state = Mutex(State())

    init(number: Int) { self.number = number }

    /// Goes to the client, or waits for it to come back.
    func send(_ message: JSON) async { await send { .message(message, id: $0) } }

    func send(_ response: Response) async { await send { .response(response, id: $0) } }

    private func send(_ make: (String) -> StreamEvent) async {
        let (event, queue) = state.withLock { state in
            let event = make("\(number)-\(state.next)")
            state.events.append((state.next, event))
            state.next += 1
            if state.events.count > Self.kept { state.events.removeFirst() }
            return (event, state.queue)
        }
        await queue?.send(event)
    }

    /// An event from which the client can go on before anything has come.
    func prime() -> StreamEvent { .prime(id: "\(number)-0") }

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
