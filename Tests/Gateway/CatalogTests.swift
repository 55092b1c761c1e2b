import KnapJSON
import Testing

@testable import Gateway

@Suite struct CatalogTests {
    private func catalog(_ offers: [Offer], budget: ListBudget = ListBudget()) -> Catalog {
        CatalogBuilder.build(offers, own: OwnTools.all, budget: budget, lint: SchemaLint())
    }

    @Test func `Knap's own tools come first, whatever the registry's order`() {
        let names = catalog([.tool("b", plugin: "x", isFirstParty: false), .tool("a")]).tools.map(\.name)
        #expect(names == ["find_tools", "use_tool", "a", "b"])
    }

    @Test func `a built-in name wins, and the foreign tool is served under its plugin's name with a warning`() {
        let built = catalog([.tool("search", plugin: "org.x", isFirstParty: false), .tool("search")])
        #expect(built.tool(named: "search")?.plugin == "vault")
        #expect(built.tool(named: "org_x_search")?.plugin == "org.x")
        #expect(built.problems.map(\.severity) == [.warning])
    }

    @Test(
        arguments: [
            ["input": ["type": "string"]], ["input": ["type": "object", "anyOf": []]],
            ["input": ["type": "object", "if": true]],
            ["input": ["type": "object", "properties": ["a": ["$ref": "https://example.com/a"]]]], ["name": "has.dot"],
            ["name": .string(String(repeating: "x", count: 65))], ["method": .null],
        ] as [JSONObject])
    func `a tool that strict clients would refuse is left out alone, with a reason`(flaw: JSONObject) {
        let built = catalog([.tool("good"), .tool("bad", flaw)])
        #expect(built.tools.map(\.name) == ["find_tools", "use_tool", "good"])
        #expect(built.problems.count == 1 && built.problems[0].severity == .error)
    }

    @Test func `the list keeps to its budgets, and what does not fit can still be called and found`() {
        let text = String(repeating: "word ", count: 200)
        let ours = (0..<20).map { Offer.tool("ours_\($0)", description: text) }
        let theirs = (0..<40).map { Offer.tool("theirs_\($0)", plugin: "x", isFirstParty: false, description: text) }
        let built = catalog(ours + theirs)
        func bytes(_ tools: [Tool]) -> Int { tools.map { $0.listing.serialized().utf8.count + 1 }.reduce(0, +) }
        #expect(bytes(built.listedTools.filter { $0.plugin != "x" }) < 8 * 1024)
        #expect(bytes(built.listedTools) < 24 * 1024)
        #expect(built.listedTools.contains { $0.plugin == "x" })
        #expect(built.tool(named: "theirs_39")?.isListed == false)
    }

    @Test(arguments: [
        ("search the notes", "search_notes"), ("rename a note", "move_note"), ("tags", "list_tags"),
        ("delete", "delete_note"), ("find text", "search_notes"),
    ])
    func `find_tools puts the tool that is meant first`(query: String, expected: String) throws {
        let built = catalog([
            .tool("search_notes", description: "Find notes by words in their text."),
            .tool("move_note", description: "Move or rename a note and update the links to it."),
            .tool("list_tags", description: "All tags with the number of notes."),
            .tool("delete_note", description: "Move a note to the trash."),
        ])
        let answer = try built.find(["query": .string(query), "limit": 1], for: Caller(principal: "tester"))
        #expect(answer["tools"]?[0]?["name"]?.stringValue == expected, "\(answer)")
    }

    @Test func `several changes while nobody looks are told once, and no change is told of an equal catalog`() async {
        let catalog = LiveCatalog()
        let watch = catalog.watch()
        catalog.publish([.tool("a")])
        catalog.publish([.tool("a"), .tool("b")])
        catalog.publish([.tool("a"), .tool("b")])
        #expect(await watch.next() == Changes(lists: .tools))
        catalog.close()
        #expect(await watch.next() == nil)
    }

    @Test func `over a reload a client hears of the lists that are not as it knows them, once all plugins have spoken`()
        async throws
    {
        let old = LiveCatalog()
        old.publish([.tool("a")])
        let saved = try #require(old.settled?.json.serialized())
        let known = try #require(ListDigests(try JSON.parse(Array(saved.utf8))))
        let new = LiveCatalog()
        new.succeed()
        let watch = new.watch(since: known)
        new.publish([.tool("b")])
        new.publish([.tool("a")])
        #expect(new.settled == nil && watch.untold.isEmpty)
        new.settle()
        #expect(new.settled == known && watch.untold.isEmpty)
        new.publish([.tool("a"), .tool("b")])
        #expect(await watch.next() == Changes(lists: .tools))
        // It comes back later than the catalog settles.
        #expect(new.watch(since: known).untold == Changes(lists: .tools))
        let newest = LiveCatalog()
        newest.succeed()
        let told = newest.watch(since: known)
        newest.settle()
        #expect(told.untold == Changes(lists: .tools))
    }

    @Test func `what a plugin offers while it runs is checked by the point's schema, and left out where it does not fit`()
        async throws
    {
        let catalog = LiveCatalog()
        catalog.publish([Offer(plugin: "p", isFirstParty: false, item: ["kind": "feed", "method": "test.feed"])])
        let feeds = PluginFeeds(catalog: catalog, backend: MemoryBackend()) { try await Task.sleep(for: $0) }
        feeds.follow(catalog.current.feeds)
        while feeds.areStarting { await Task.yield() }
        feeds.close()
        #expect(catalog.current.tool(named: "fits") != nil && catalog.current.tool(named: "unfit") == nil)
        #expect(catalog.current.problems.map(\.reason) == ["Left out: /title must be a string."])
    }

    @Test(
        arguments: [
            ["a": ["type": "string", "x-mcp-header": ""]], ["a": ["type": "string", "x-mcp-header": "A B"]],
            ["a": ["type": "string", "x-mcp-header": "A\r\nB"]], ["a": ["type": "string", "x-mcp-header": 1]],
            ["a": ["type": "number", "x-mcp-header": "A"]], ["a": ["type": "object", "x-mcp-header": "A"]],
            ["a": ["x-mcp-header": "A"]],
            ["a": ["type": "string", "x-mcp-header": "A"], "b": ["type": "string", "x-mcp-header": "a"]],
            ["a": ["type": "array", "items": ["type": "string", "x-mcp-header": "A"]]],
            ["a": ["anyOf": [["type": "string", "x-mcp-header": "A"]]]],
        ] as [JSONObject])
    func `a tool whose arguments cannot be repeated in headers as it says is left out, with a reason`(
        properties: JSONObject
    ) {
        let input: JSON = ["type": "object", "properties": .object(properties)]
        let built = catalog([.tool("good"), .tool("bad", ["input": input])])
        #expect(built.tool(named: "bad") == nil && built.tool(named: "good") != nil)
        #expect(built.problems.count == 1 && built.problems[0].reason.contains("x-mcp-header"), "\(built.problems)")
    }

    @Test func `an argument within another can be repeated in a header, and is checked there`() throws {
        let options: JSON = [
            "type": "object", "properties": ["region": ["type": "string", "x-mcp-header": "Region"]],
        ]
        // The second is a name, not an annotation.
        let properties: JSON = ["options": options, "x-mcp-header": ["type": "array"]]
        let built = catalog([.tool("a", ["input": ["type": "object", "properties": properties]])])
        let headers = try #require(built.tool(named: "a")).headerArguments
        let given = RoutingHeaders(version: [], method: [], name: []) { $0 == "Region" ? ["north"] : [] }
        #expect(throws: Never.self) { try given.check(["options": ["region": "north"]], headers) }
        #expect(throws: RPCError.self) { try given.check(["options": ["region": "south"]], headers) }
        #expect(throws: RPCError.self) { try given.check([:], headers) }
    }

    @Test func `URI templates give back their variables`() throws {
        let template = try #require(URITemplate("note:///{+path}"))
        #expect(template.match("note:///a%20b/c.md")?.map(\.value) == ["a b/c.md"])
        #expect(template.match("file:///a") == nil)
        let two = try #require(URITemplate("x://{a}/{b}.md"))
        #expect(two.match("x://1/2.md")?.map(\.value) == ["1", "2"])
        #expect(two.match("x://1/2/3.md") == nil)
        #expect(URITemplate("x://{a}{b}") == nil && URITemplate("x://{?a}") == nil)
    }
}
