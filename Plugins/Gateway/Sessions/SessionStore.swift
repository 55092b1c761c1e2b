import KnapJSON
import Synchronization

/// The sessions of clients over HTTP.
package final class SessionStore: Sendable {
    private struct Entry {
        var session: HTTPSession
        var principal: String
        /// The last time.
        var used: ContinuousClock.Instant
    }

    private struct State {
        var sessions: [String: Entry] = [:]
        /// The lists as the sessions of the generation before know them.
        var known: ListDigests?
    }

    /// Past it those that have been idle for longest are dropped; their ids still say how to begin them again.
    static let maximum = 10_000
    /// So many at once: to find them is to look at all.
    static let dropped = maximum / 16
    /// One that nobody used for so long is dropped in the same way.
    static let idleEnd = Duration.seconds(24 * 60 * 60)

    package let ended: EndedSessions
    private let ids: SessionID
    private let server: Server
    private let budget = ReplayBudget()
    private let state = Mutex(State())

    /// - Parameter endedFile: Keeps the ends of sessions over restarts; nil for memory alone.
    package init(server: Server, endedFile: String? = nil) {
        self.server = server
        ended = EndedSessions(path: endedFile)
        ids = SessionID(seal: server.seal)
        budget.onExcess { [weak self] in self?.forgetEvents() }
    }

    /// Until enough has gone, of the sessions that were idle for longest first.
    private func forgetEvents() {
        let oldestFirst = state.withLock { $0.sessions.values.sorted { $0.used < $1.used } }
        for entry in oldestFirst where budget.excess > 0 { entry.session.forgetEvents() }
    }

    var count: Int { state.withLock { $0.sessions.count } }

    /// Keeps a session whose handshake is done, and answers its id.
    func add(_ session: Session, of principal: String) -> String {
        let id = ids.make(session.facts, for: principal)
        insert(session, id, principal)
        return id
    }

    /// The session of an id; nil for one that is unknown, somebody else's, or over.
    func find(_ id: String, of principal: String) -> HTTPSession? {
        let (known, isForeign) = state.withLock { state -> (HTTPSession?, Bool) in
            guard let entry = state.sessions[id] else { return (nil, false) }
            guard entry.principal == principal else { return (nil, true) }
            state.sessions[id]?.used = .now
            return (entry.session, false)
        }
        if known != nil || isForeign || ended.contains(id) { return known }
        guard let facts = ids.read(id, for: principal) else { return nil }
        let session = insert(Session(facts), id, principal)
        // It may have been away while things changed.
        session.changes.tell(Changes(lists: [.tools, .resources, .prompts]))
        return session
    }

    /// Ends a session. False where there is none of this principal's.
    func end(_ id: String, of principal: String) -> Bool {
        guard let session = find(id, of: principal) else { return false }
        ended.insert(id)
        state.withLock { $0.sessions[id] = nil }
        session.end()
        return true
    }

    /// Drops those that have been idle for too long; their ids still say how to begin them again.
    package func dropIdle(_ now: ContinuousClock.Instant = .now) {
        let idle = state.withLock { state in
            for (id, entry) in state.sessions where entry.session.isInUse { state.sessions[id]?.used = now }
            let idle = state.sessions.filter { now - $0.value.used >= Self.idleEnd }
            for id in idle.keys { state.sessions[id] = nil }
            return idle.values.map(\.session)
        }
        for session in idle { session.end() }
    }

    @discardableResult
    private func insert(
        _ session: Session, _ id: String, _ principal: String, since known: ListDigests? = nil
    ) -> HTTPSession {
        let changes = server.watch(for: session, since: known)
        let made = HTTPSession(session: session, changes: changes, budget: budget)
        let (kept, dropped) = state.withLock { state -> (HTTPSession, [HTTPSession]) in
            // Two requests may have begun it again at once.
            if let entry = state.sessions[id] { return (entry.session, []) }
            state.sessions[id] = Entry(session: made, principal: principal, used: .now)
            guard state.sessions.count > Self.maximum else { return (made, []) }
            let oldest = state.sessions.sorted { $0.value.used < $1.value.used }.prefix(Self.dropped)
            for (id, _) in oldest { state.sessions[id] = nil }
            return (made, oldest.map(\.value.session))
        }
        for session in dropped { session.end() }
        return kept
    }
}

// MARK: - Over a reload

extension SessionStore {
    /// Gives up what runs in all sessions.
    package func giveUp() {
        for session in state.withLock({ $0.sessions.values.map(\.session) }) { session.giveUp() }
    }

    package func save() -> JSON {
        // First: what changes meanwhile may be told twice, and is not missed.
        let lists = server.catalog.settled
        return state.withLock { state in
            let sessions = state.sessions.map { id, entry -> JSON in
                [
                    "id": .string(id), "principal": .string(entry.principal),
                    "facts": entry.session.session.facts.json, "untold": entry.session.changes.untold.json,
                ]
            }
            let known = lists ?? state.known
            return ["sessions": .array(sessions), "lists": known?.json ?? .null]
        }
    }

    package func load(_ json: JSON) {
        let known = ListDigests(json["lists"])
        state.withLock { $0.known = known }
        for entry in json["sessions"]?.arrayValue ?? [] {
            guard let id = entry["id"]?.stringValue, let principal = entry["principal"]?.stringValue else { continue }
            let session = insert(Session(Session.Facts(entry["facts"] ?? [:])), id, principal, since: known)
            session.changes.tell(Changes(entry["untold"]))
        }
    }
}
