import KnapJSON
import NIOCore

/// The requests of one client on stdio: those that run, and those that wait until some have been answered.
struct RequestTable: Sendable {
    struct Asked: Sendable {
        var request: Request
        var envelope: Envelope
        /// About what it takes while it runs.
        var size: Int

        var isSubscription: Bool { request.method == RequestMethod.listen.rawValue }
    }

    struct Running: Sendable {
        var number: Int
        var asked: Asked
        var task: Task<Void, Never>

        var request: Request { asked.request }
    }

    enum Admission {
        case begins, waits
        /// Nothing more can be taken before others have ended.
        case full
        case refused(RPCError)
    }

    private var running: [RequestID: Running] = [:]
    /// In the order in which they came.
    private var waiting = CircularBuffer<Asked>()
    private var waitingIDs: Set<RequestID> = []
    private var runningSize = 0
    private var waitingSize = 0
    private var subscriptionCount = 0
    /// A client may use an id again once its request was cancelled, while that still ends.
    private var nextNumber = 0

    var isEmpty: Bool { running.isEmpty && waiting.isEmpty }
    var subscriptions: [Running] { running.values.filter(\.asked.isSubscription) }

    func isRunning(_ id: RequestID, _ number: Int) -> Bool { running[id]?.number == number }

    // MARK: - Beginnings

    /// - Parameters:
    ///   - unread: How many bytes wait for the client to read them.
    ///   - asking: How many requests wait for the client's answer to a question; these leave their places to others.
    func admission(of asked: Asked, unread: Int, asking: Int, _ limits: StdioSession.Limits) -> Admission {
        let id = asked.request.id
        if running[id] != nil || waitingIDs.contains(id) {
            return .refused(RPCError(.invalidRequest, "A request with this id is still running."))
        }
        if asked.isSubscription {
            guard subscriptionCount >= limits.subscriptions else { return .begins }
            let reason = "There are already \(limits.subscriptions) subscriptions; cancel one first."
            return .refused(RPCError(.invalidRequest, reason))
        }
        if waiting.isEmpty, hasRoom(for: asked, unread: unread, asking: asking, limits) { return .begins }
        let mayWait = waiting.count < limits.waiting && waitingSize + asked.size <= limits.waitingBytes
        return mayWait || waiting.isEmpty ? .waits : .full
    }

    /// Where nothing runs there always is: nobody would make any. A request may ask many questions at once, so they make
    /// room for no more than as many again.
    private func hasRoom(for asked: Asked, unread: Int, asking: Int, _ limits: StdioSession.Limits) -> Bool {
        let requests = running.count - subscriptionCount
        if requests == 0 { return true }
        return requests - min(asking, limits.requests) < limits.requests && runningSize + asked.size <= limits.requestBytes && unread <= limits.unreadBytes
    }

    mutating func begin(_ asked: Asked, _ start: (_ number: Int) -> Task<Void, Never>) {
        nextNumber += 1
        running[asked.request.id] = Running(number: nextNumber, asked: asked, task: start(nextNumber))
        runningSize += asked.size
        if asked.isSubscription { subscriptionCount += 1 }
    }

    mutating func wait(_ asked: Asked) {
        waiting.append(asked)
        waitingIDs.insert(asked.request.id)
        waitingSize += asked.size
    }

    /// Takes out the one that waits first, if there is room for it.
    mutating func next(unread: Int, asking: Int, _ limits: StdioSession.Limits) -> Asked? {
        guard let first = waiting.first, hasRoom(for: first, unread: unread, asking: asking, limits) else { return nil }
        return removeWaiting(at: waiting.startIndex)
    }

    // MARK: - Ends

    mutating func ended(_ id: RequestID, _ number: Int) {
        if isRunning(id, number) { removeRunning(id) }
    }

    /// Forgets a request, which may be one that waits; the task is to be cancelled.
    mutating func remove(_ id: RequestID) -> Task<Void, Never>? {
        if waitingIDs.contains(id), let place = waiting.firstIndex(where: { $0.request.id == id }) { removeWaiting(at: place) }
        return removeRunning(id)?.task
    }

    @discardableResult
    private mutating func removeWaiting(at place: CircularBuffer<Asked>.Index) -> Asked {
        let removed = waiting.remove(at: place)
        waitingIDs.remove(removed.request.id)
        waitingSize -= removed.size
        return removed
    }

    @discardableResult
    private mutating func removeRunning(_ id: RequestID) -> Running? {
        guard let removed = running.removeValue(forKey: id) else { return nil }
        runningSize -= removed.asked.size
        if removed.asked.isSubscription { subscriptionCount -= 1 }
        return removed
    }

    mutating func removeSubscriptions() -> [Running] { subscriptions.compactMap { removeRunning($0.request.id) } }

    mutating func removeAll() -> [Task<Void, Never>] {
        defer { self = RequestTable() }
        return running.values.map(\.task)
    }
}
