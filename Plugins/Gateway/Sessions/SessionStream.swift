import KnapJSON
import NIOCore
import Synchronization

/// One stream of events in a session, and the last of them for a client that lost its connection.
final class SessionStream: Sendable {
    private struct State {
        var events: [(place: Int, bytes: ByteBuffer)] = []
        var next = 1
        /// The response that is open now, once it has all that came before.
        var response: StreamingAnswer?
        /// The one that is sent what came before.
        var resuming: StreamingAnswer?
        var isFinished = false

        func isWhole(after place: Int) -> Bool {
            (0..<next).contains(place) && (events.first?.place ?? next) <= place + 1
        }

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
    var isOpen: Bool { state.withLock { $0.response != nil || $0.resuming != nil } }

    /// Whether everything after an event can still be sent.
    func isWhole(after place: Int) -> Bool { state.withLock { $0.isWhole(after: place) } }

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
        if response?.answer(whole: Answer(answer, isModern: false)) != true { await send(answer.json) }
    }

    /// An event from which the client can go on with what comes next.
    func prime() -> ByteBuffer { ServerSentEvent.prime(id: state.withLock { "\(name)-\($0.next - 1)" }) }

    /// Has a response carry what comes; the one that carried it before ends.
    func attach(_ response: StreamingAnswer) {
        let (earlier, isFinished) = state.withLock { state in
            let earlier = [state.response, state.resuming].compactMap(\.self)
            state.resuming = nil
            state.response = state.isFinished ? nil : response
            return (earlier, state.isFinished)
        }
        for response in earlier { response.finish() }
        if isFinished { response.finish() }
    }

    /// Has a response carry the stream from an event on, as fast as its client reads. False where not all of it is left.
    func attach(_ response: StreamingAnswer, after place: Int) -> Bool {
        let earlier = state.withLock { state -> [StreamingAnswer]? in
            guard state.isWhole(after: place) else { return nil }
            defer {
                state.response = nil
                state.resuming = response
            }
            return [state.response, state.resuming].compactMap(\.self)
        }
        guard let earlier else { return false }
        for response in earlier { response.finish() }
        response.begin()
        Task { await resume(response, after: place) }
        return true
    }

    private func resume(_ response: StreamingAnswer, after place: Int) async {
        var place = place
        while let next = next(for: response, after: place) {
            place = next.place
            await response.send(next.bytes)
        }
    }

    /// The event after another one; nil where there is none, from where on the response carries what comes.
    private func next(for response: StreamingAnswer, after place: Int) -> (place: Int, bytes: ByteBuffer)? {
        let (event, ends) = state.withLock { state -> ((place: Int, bytes: ByteBuffer)?, Bool) in
            guard state.resuming === response else { return (nil, false) }
            // What was dropped meanwhile is lost to a client that reads too slowly; it can see that by the ids.
            if let event = state.events.first(where: { $0.place > place }) { return (event, false) }
            state.resuming = nil
            state.response = state.isFinished ? nil : response
            return (nil, state.isFinished)
        }
        if ends { response.finish() }
        return event
    }

    /// The response is gone; what comes waits.
    func detach(_ response: StreamingAnswer) {
        state.withLock { state in
            if state.response === response { state.response = nil }
            if state.resuming === response { state.resuming = nil }
        }
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
