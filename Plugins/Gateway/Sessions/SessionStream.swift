import KnapJSON
import NIOCore
import Synchronization

/// One stream of events in a session, and the last of them for a client that lost its connection.
final class SessionStream: Sendable {
    private struct State {
        var events: [(place: Int, bytes: ByteBuffer)] = []
        var next = 1
        /// The response that is open now.
        var response: StreamingAnswer?
        var isFinished = false

        /// Drops the oldest events; answers their size.
        mutating func drop(_ count: Int) -> Int {
            let size = events[..<count].reduce(0) { $0 + $1.bytes.readableBytes }
            events.removeFirst(count)
            return size
        }
    }

    /// Events that are kept to be sent again; older ones are gone.
    private static let kept = 256

    let number: Int
    private let name: String
    private let budget: ReplayBudget
    private let state = Mutex(State())

    /// - Parameter tag: Begins the ids of all events in the session.
    init(_ tag: String, _ number: Int, _ budget: ReplayBudget) {
        self.number = number
        name = "\(tag)-\(number)"
        self.budget = budget
    }

    deinit { forgetEvents() }

    /// Whether there is nothing to go back to.
    var isEmpty: Bool { state.withLock { $0.events.isEmpty } }

    /// Whether a response carries it now.
    var isOpen: Bool { state.withLock { $0.response != nil } }

    /// Whether everything after an event can still be sent.
    func isWhole(after place: Int) -> Bool {
        state.withLock { state in
            (0..<state.next).contains(place) && (state.events.first?.place ?? state.next) <= place + 1
        }
    }

    /// Goes to the client, or waits for it to come back.
    func send(_ message: JSON) async {
        let (response, growth) = state.withLock { state in
            let bytes = ServerSentEvent.message(message, id: "\(name)-\(state.next)")
            state.events.append((state.next, bytes))
            state.next += 1
            // Under the lock, so that events go out in the order of their ids.
            state.response?.put(bytes)
            let dropped = state.events.count > Self.kept ? state.drop(1) : 0
            return (state.response, bytes.readableBytes - dropped)
        }
        budget.add(growth)
        await response?.room()
    }

    /// A response that comes first is the whole answer, which is no stream and cannot be gone back to.
    func send(_ answer: Response) async {
        let response = state.withLock { $0.next == 1 ? $0.response : nil }
        if response?.settle(Answer(answer, isModern: false)) != true { await send(answer.json) }
    }

    /// An event from which the client can go on with what comes next.
    func prime() -> ByteBuffer { ServerSentEvent.prime(id: state.withLock { "\(name)-\($0.next - 1)" }) }

    /// Has a response carry the stream from an event on; the one that carried it before ends.
    func attach(_ response: StreamingAnswer, after place: Int? = nil) {
        let (earlier, isFinished) = state.withLock { state in
            if let place {
                response.begin()
                for event in state.events where event.place > place { response.put(event.bytes) }
            }
            let earlier = state.response
            state.response = state.isFinished ? nil : response
            return (earlier, state.isFinished)
        }
        earlier?.finish()
        if isFinished { response.finish() }
    }

    /// The response is gone; what comes waits.
    func detach(_ response: StreamingAnswer) {
        state.withLock { if $0.response === response { $0.response = nil } }
    }

    /// Nothing more will come.
    func finish() {
        state.withLock { state in
            state.isFinished = true
            return state.response.take()
        }?.finish()
    }

    func forgetEvents() { budget.remove(state.withLock { $0.drop($0.events.count) }) }
}
