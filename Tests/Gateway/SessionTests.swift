import KnapJSON
import TestSupport
import Testing

@testable import Gateway

@Suite struct SessionTests {
    @Test func `a session is told after a reload of what it was not told before`() async throws {
        let old = Server.sample()
        let sessions = SessionStore(server: old)
        let id = sessions.add(Session(), of: "me")
        old.catalog.announce(Changes(lists: .prompts))
        let saved = try JSON.parse(Array(sessions.save().serialized().utf8))
        let new = Server.sample(Offer.samples + [.tool("new")])
        new.catalog.succeed()
        let loaded = SessionStore(server: new)
        loaded.load(saved)
        let changes = try #require(loaded.find(id, of: "me")).changes
        #expect(changes.untold == Changes(lists: .prompts))
        new.catalog.settle()
        #expect(changes.untold == Changes(lists: [.tools, .prompts]))
    }

    @Test func `a session that its client ended is over after a restart too, and another is not`() async throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/ended.json"
        let store = SessionStore(server: .sample(), endedFile: file)
        let ids = (0..<3).map { _ in store.add(Session(), of: "me") }
        #expect(store.end(ids[0], of: "me") && !store.end(ids[1], of: "you"))
        await store.ended.written()
        let restarted = SessionStore(server: .sample(), endedFile: file)
        await restarted.ended.load()
        #expect(restarted.end(ids[2], of: "me"))
        #expect(ids.map { restarted.find($0, of: "me") != nil } == [false, true, false])
    }

    @Test func `only the latest ends are remembered`() {
        let ended = EndedSessions(path: nil)
        for number in 0...EndedSessions.maximum { ended.insert("facts.\(number)") }
        #expect(!ended.contains("facts.0") && ended.contains("facts.1"))
        #expect(ended.contains("facts.\(EndedSessions.maximum)"))
    }

    @Test func `where there are too many sessions, those that were idle for longest are dropped together`() throws {
        let store = SessionStore(server: .sample())
        let ids = (0..<SessionStore.maximum).map { _ in store.add(Session(), of: "me") }
        let used = try #require(store.find(ids[0], of: "me"))
        _ = store.add(Session(), of: "me")
        #expect(store.count == SessionStore.maximum + 1 - SessionStore.dropped)
        #expect(store.find(ids[0], of: "me") === used)
        #expect(try #require(store.find(ids[1], of: "me")).changes.untold.lists == [.tools, .resources, .prompts])
        #expect(try #require(store.find(ids[SessionStore.dropped + 1], of: "me")).changes.untold.isEmpty)
    }

    @Test func `a session that is idle for a day is dropped, unless something runs in it, and its id brings it back`()
        throws
    {
        let store = SessionStore(server: .sample())
        let (idle, busy) = (store.add(Session(), of: "me"), store.add(Session(), of: "me"))
        let dropped = try #require(store.find(idle, of: "me"))
        let kept = try #require(store.find(busy, of: "me"))
        let id = try #require(RequestID(1))
        #expect(kept.begin(id, on: kept.openStream()) { Task {} } == nil)
        store.dropIdle(.now + .seconds(23 * 60 * 60))
        #expect(store.count == 2)
        store.dropIdle(.now + SessionStore.idleEnd)
        #expect(store.count == 1 && dropped.begin(id, on: dropped.openStream()) { Task {} } != nil)
        #expect(store.find(busy, of: "me") === kept)
        #expect(try #require(store.find(idle, of: "me")).changes.untold.lists == [.tools, .resources, .prompts])
    }
}
