import KnapJSON
import Testing

@testable import Gateway

@Suite struct BoundsTests {
    @Test(arguments: [
        (#"{"id":1,"method":"a","params":[1,}"#, "1"), (#"{"params":{"id":2},"method":"a","id":"x",}"#, #""x""#),
        (#"{"id":1,"id":1,"method":"a",}"#, nil), (#"{"id":1,"result":}"#, nil), (#"{"method":"a","params":{"id":1}"#, nil),
        (#"["id",1,"method",{"id":1,"method":"a"}"#, nil), (#"{"id" : 12345678901234567890 , "method" :"#, "12345678901234567890"),
        (#"{"a":"\"id\":7,","id":8,"method":"\ud800"}"#, "8"), (#"{"id":1.5,"method":"\ud800"}"#, nil),
        (#"{"id":null,"method":"\ud800"}"#, nil), (#""id":1,"method":"a""#, nil), ("", nil), ("\"", nil), (#"{"id"#, nil),
        (#"{"id":1,"method":"a"}}"#, "1"), (#"{"id":"a\"b","method":"\ud800"}"#, #""a\"b""#), ("{\"id\":1,\"method\":\"\\", "1"),
    ] as [(String, String?)])
    func `a broken request's id is found where there is one`(text: String, id: String?) {
        #expect(BrokenMessage.requestID(in: Array(text.utf8))?.json.serialized() == id)
    }

    @Test(arguments: [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (1_709_164_799, "Wed, 28 Feb 2024 23:59:59 GMT"), (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
    ])
    func `a date is written as HTTP has it`(second: Int, text: String) { #expect(HTTPDate.text(of: second) == text) }

    @Test func `large bodies share what there is, and give it back`() {
        let budget = BodyBudget()
        var (first, second, small) = (0, 0, 0)
        #expect(budget.grow(&first, to: BodyBudget.maximum - 100_000))
        #expect(!budget.grow(&second, to: 200_000) && second == 0)
        #expect(budget.grow(&small, to: BodyBudget.uncounted) && small == 0)
        #expect(budget.grow(&second, to: 90_000) && second == 90_000)
        budget.giveBack(first)
        #expect(budget.grow(&second, to: 200_000) && second == 200_000)
        budget.giveBack(second)
        // One is always taken, however large it seems.
        #expect(budget.grow(&first, to: 2 * BodyBudget.maximum))
    }

    @Test func `what is kept of a client is short, whatever it says of itself`() {
        let long = JSON.string(String(repeating: "x", count: 10_000))
        let client = ClientIdentity(
            capabilities: ClientCapabilities([
                "sampling": ["tools": [:], "x": long], "experimental": ["x": long],
                "extensions": ["io.modelcontextprotocol/tasks": [:], "x": long],
            ]), info: ["name": "a", "title": long, "icons": [long]])
        let kept = client.kept
        #expect(kept.capabilities.declared == [
            "sampling": ["tools": [:]], "extensions": ["io.modelcontextprotocol/tasks": [:]],
        ])
        #expect(kept.info?["name"] == "a" && kept.info?["icons"] == nil && kept.info.map(\.approximateSize) ?? .max < 1000)
        let short = ClientIdentity(capabilities: ClientCapabilities(["x": [:]]), info: ["name": "a", "icons": []])
        #expect(short.kept == short)
    }

    private func message(_ size: Int) -> JSON { .string(String(repeating: "x", count: size)) }

    @Test func `what is kept for those who come back is bounded, and goes first where it was idle for longest`() async throws {
        let store = SessionStore(server: .sample())
        let ids = (0..<3).map { _ in store.add(Session(), of: "me") }
        let streams = try ids.map { id in try #require(store.find(id, of: "me")).openStream() }
        for stream in streams { await stream.send(message(ReplayBudget.maximum / 4)) }
        #expect(streams.allSatisfy { $0.isWhole(after: 0) })
        _ = store.find(ids[0], of: "me")
        await streams[2].send(message(ReplayBudget.maximum / 2))
        #expect(streams[0].isWhole(after: 0) && !streams[1].isWhole(after: 0))
        #expect(streams[1].isWhole(after: 1))
    }

    @Test func `a long line goes in parts that are no larger than the host's rings like`() async throws {
        let (parts, sink) = AsyncStream<[UInt8]>.makeStream()
        let writer = LineWriter { sink.yield($0) }
        await writer.write(message(200_000))
        sink.finish()
        var sent: [[UInt8]] = []
        for await part in parts { sent.append(part) }
        #expect(sent.map(\.count).max() == 64 * 1024)
        #expect(try JSON.parse(Array(sent.joined().dropLast())) == message(200_000))
    }

    private func asked(_ id: Int, _ method: RequestMethod = .callTool, size: Int = 1) throws -> RequestTable.Asked {
        let id = try #require(RequestID(.number(JSONNumber(id))))
        return .init(
            request: Request(id: id, method: method.rawValue), envelope: Envelope(revision: .modern), size: size)
    }

    @Test func `requests run, wait in their order, and are read no further past their bounds`() throws {
        var limits = StdioSession.Limits()
        (limits.requests, limits.waiting, limits.waitingBytes, limits.subscriptions) = (2, 2, 100, 1)
        var table = RequestTable()
        func take(_ asked: RequestTable.Asked, unread: Int = 0) -> String {
            switch table.admission(of: asked, unread: unread, asking: 0, limits) {
            case .begins:
                table.begin(asked) { _ in Task {} }
                return "begins"
            case .waits:
                table.wait(asked)
                return "waits"
            case .full: return "full"
            case .refused: return "refused"
            }
        }
        // However much is unread: nothing runs that could make it less.
        #expect(take(try asked(1), unread: .max) == "begins")
        #expect(try take(asked(2), unread: .max) == "waits")
        #expect(table.next(unread: .max, asking: 0, limits) == nil)
        #expect(table.next(unread: 0, asking: 0, limits)?.request.id == RequestID(2))
        #expect(try take(asked(2)) == "begins")
        #expect(try take(asked(3)) == "waits" && take(asked(3)) == "refused" && take(asked(1)) == "refused")
        #expect(try take(asked(4)) == "waits" && take(asked(5)) == "full")
        // They last, so they take nobody's place.
        #expect(try take(asked(6, .listen)) == "begins" && take(asked(7, .listen)) == "refused")
        #expect(table.next(unread: 0, asking: 0, limits) == nil)
        let third = try #require(RequestID(3))
        #expect(table.remove(third) == nil)
        table.ended(try #require(RequestID(1)), 99)
        #expect(table.next(unread: 0, asking: 0, limits) == nil)
        table.ended(try #require(RequestID(1)), 1)
        #expect(table.next(unread: 0, asking: 0, limits)?.request.id == RequestID(4))
        #expect(try take(asked(8, size: 200)) == "begins" || take(asked(8, size: 200)) == "waits")
    }

    @Test func `a long query costs no more than its beginning`() throws {
        let catalog = CatalogBuilder.build([.tool("list_tags")], own: OwnTools.all, budget: ListBudget(), lint: SchemaLint())
        let found = try catalog.find(["query": .string("tags " + String(repeating: "nothing ", count: 100_000))], for: Caller(principal: "tester"))
        #expect(found["tools"]?[0]?["name"] == "list_tags")
    }
}
