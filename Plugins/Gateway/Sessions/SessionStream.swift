import KnapJSON
import Synchronization

/// One stream of events in a session, and the last of them for a client that lost its connection.
final class SessionStream: Sendable {
    private struct State {
        var events: [(place: Int, event: StreamEvent, size: Int)] = []
        var next = 1
        var keepsEvents = true
        /// The response that is open now.
        var queue: EventQueue?
        var isFinished = false

        /// Drops the oldest events; answers their size.
        mutating func drop(_ count: Int) -> Int {
            let size = events[..<count].reduce(0) { $0 + $1.size }
            events.removeFirst(count)
            return size
        }
    }

    /// Events that are kept to be sent again; older ones are gone.
    private static let kept = 256

    let number: Int
    private let budget: ReplayBudget
    private let state = Mutex(State())

    init(number: Int, budget: ReplayBudget) {
        self.number = number
        self.budget = budget
    }

    deinit { forgetEvents() }

    /// Goes to the client, or waits for it to come back.
    func send(_ message: JSON) async { await send(message.approximateSize) { .message(message, id: $0) } }

    func send(_ response: Response) async { await send(response.approximateSize) { .response(response, id: $0) } }

    private func send(_ size: Int, _ make: (String) -> StreamEvent) async {
        let (event, queue, growth) = state.withLock { state in
            let event = make("\(number)-\(state.next)")
            var growth = 0
            if state.keepsEvents {
                state.events.append((state.next, event, size))
                growth = size
                if state.events.count > Self.kept { growth -= state.drop(1) }
            }
            state.next += 1
            return (event, state.queue, growth)
        }
        budget.add(growth)
        await queue?.send(event)
    }

    /// An event from which the client can go on before anything has come.
    func prime() -> StreamEvent { .prime(id: "\(number)-0") }

    /// Whether everything after an event can still be sent.
    func isWhole(after place: Int) -> Bool {
        state.withLock { state in (0..<state.next).contains(place) && (state.events.first?.place ?? state.next) <= place + 1 }
    }

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

    /// Nobody will come back to it.
    func keepNothing() {
        state.withLock { $0.keepsEvents = false }
        forgetEvents()
    }

    func forgetEvents() { budget.remove(state.withLock { $0.drop($0.events.count) }) }
}

extension Response {
    fileprivate var approximateSize: Int {
        switch outcome {
        case .success(let result): JSON.object(result).approximateSize
        case .failure(let error): error.message.utf8.count + (error.data?.approximateSize ?? 0)
        }
    }
}
