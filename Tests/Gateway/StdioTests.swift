import Gateway
import KnapJSON
import Synchronization
import TestSupport
import Testing

/// A session whose input is written by the test, and whose output it reads as messages.
struct StdioClient {
    let backend = MemoryBackend()
    let server: Server
    private let input: AsyncStream<[UInt8]>.Continuation
    private let session: Task<Void, any Error>
    private var output: AsyncStream<JSON>.Iterator

    init(server: Server = .sample()) {
        self.server = server
        let (chunks, input) = AsyncStream<[UInt8]>.makeStream()
        let (messages, sink) = AsyncStream<JSON>.makeStream()
        self.input = input
        let session = StdioSession(server: server, backend: backend) { bytes in
            for line in bytes.split(separator: 10) { sink.yield(try JSON.parse(Array(line))) }
        }
        self.session = Task {
            defer { sink.finish() }
            try await session.run(chunks)
        }
        output = messages.makeAsyncIterator()
    }

    func send(_ text: String) { input.yield(Array((text + "\n").utf8)) }
    func send(bytes: [UInt8]) { input.yield(bytes) }
    func close() { input.finish() }
    mutating func next() async -> JSON { await output.next() ?? .null }
    /// Everything until the session ends.
    mutating func rest() async -> [JSON] {
        input.finish()
        var messages: [JSON] = []
        while let message = await output.next() { messages.append(message) }
        return messages
    }
}

func modern(_ id: Int, _ method: String, _ params: String = "") -> String {
    #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method)","params":{\#(params)\#(params.isEmpty ? "" : ",")"_meta":{"#
        + #""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#
}

@Suite struct StdioTests {
    @Test(arguments: [
        ("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"), ("2026-07-28", "2025-11-25"), ("1999-01-01", "2025-11-25"),
    ])
    func `initialize answers the date asked for where it has one`(asked: String, answered: String) async {
        var client = StdioClient()
        client.send(
            #"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"\#(asked)","capabilities":{}}}"#
        )
        let answer = await client.next()
        #expect(answer["result"]?["protocolVersion"]?.stringValue == answered)
        #expect(answer["result"]?["resultType"] == nil)
        client.close()
    }

    @Test func `initialize is served after a good server discover`() async {
        var client = StdioClient()
        client.send(modern(1, "server/discover"))
        let discovered = await client.next()
        #expect(discovered["result"]?["supportedVersions"] == ["2026-07-28"])
        #expect(discovered["result"]?["resultType"] == "complete" && discovered["result"]?["cacheScope"] == "private")
        client.send(#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#)
        #expect(await client.next()["result"]?["protocolVersion"] == "2025-11-25")
        client.close()
    }

    @Test(arguments: [
        ("nonsense", -32700, "null"), ("[]", -32600, "null"),
        (#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, "null"),
        (#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600, "null"),
        (#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#, -32600, "\"a\""),
        (#"{"jsonrpc":"2.0","id":7,"method":"no/such"}"#, -32601, "7"),
        (
            #"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"no"}"#, -32601,
            "123456789012345678901234567890"
        ),
        (#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}"#, -32602, "1"),
        (#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#, -32602, "1"),
        (
            #"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2030-01-01","io.modelcontextprotocol/clientCapabilities":{}}}}"#,
            -32022, "1"
        ),
        (modern(3, "ping"), -32601, "3"), (modern(4, "tools/call", #""name":"read_notes""#), -32602, "4"),
        (modern(5, "resources/read", #""uri":"nope:x""#), -32602, "5"),
        (#"{"jsonrpc":"2.0","id":6,"method":"resources/read","params":{"uri":"nope:x"}}"#, -32002, "6"),
        (modern(8, "prompts/get", #""name":"review""#), -32602, "8"),
        (modern(9, "tools/list", #""cursor":"x""#), -32602, "9"),
    ])
    func `what cannot be served is answered with its code and id`(line: String, code: Int, id: String) async {
        var client = StdioClient()
        client.send(line)
        let answer = await client.next()
        #expect(answer["error"]?["code"]?.intValue == code, "\(answer)")
        #expect(answer["id"]?.serialized() == id)
        client.close()
    }

    @Test(arguments: [
        (#""name":"find_tools","arguments":{"query":"a","page":2}"#, "no argument page; it has query and limit"),
        (#""name":"find_tools","arguments":{"query":"a","limit":"3"}"#, "limit must be"),
        (#""name":"find_tools","arguments":{"query":"a","limit":0}"#, "limit must be"),
        (#""name":"use_tool","arguments":{"name":"echo","args":{}}"#, "no argument args; it has name and arguments"),
    ])
    func `the Gateway's own tools refuse what their schemas do not have`(call: String, words: String) async {
        var client = StdioClient()
        client.send(modern(1, "tools/call", call))
        let result = await client.next()["result"]
        #expect(result?["isError"] == true)
        #expect(result?["content"]?[0]?["text"]?.stringValue?.contains(words) == true, "\(result ?? nil)")
        client.close()
    }

    @Test func `an answer without a content type is of the type that the manifest says`() async {
        let tool = Offer(
            plugin: "vault", isFirstParty: true, item: ["kind": "tool", "name": "plain", "method": "test.echo"],
            method: ["input": ["type": "object"], "output_content_type": "text/plain"])
        var client = StdioClient(server: .sample([tool]))
        client.send(modern(1, "tools/call", #""name":"plain","arguments":{"a":1}"#))
        let content = await client.next()["result"]?["content"]
        #expect(content?[0]?["text"] == #"{"a":1}"#)
        client.close()
    }

    @Test func `a tool's text comes as it is and the rest as one compact block`() async {
        var client = StdioClient()
        client.send(modern(1, "tools/call", #""name":"read_note","arguments":{}"#))
        let content = await client.next()["result"]?["content"]
        #expect(content?[0]?["text"] == "# Title\nText")
        #expect(content?[1]?["text"] == #"{"path":"a.md"}"#)
        client.close()
    }

    @Test func `a tool's failure is a result that says why`() async {
        var client = StdioClient()
        client.send(modern(1, "tools/call", #""name":"use_tool","arguments":{"name":"missing"}"#))
        let result = await client.next()["result"]
        #expect(result?["isError"] == true)
        #expect(result?["content"]?[0]?["text"]?.stringValue?.contains("The nearest is a.md") == true)
        client.close()
    }

    @Test func `progress rises and comes before the answer`() async {
        var client = StdioClient()
        client.send(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","_meta":{"progressToken":"t"}}}"#)
        let messages = await client.rest()
        #expect(messages.dropLast().map { $0["params"]?["progress"]?.intValue } == [0, 50, 100])
        #expect(messages.last?["id"] == 1)
    }

    @Test func `a cancelled request gets no answer, and its call is cancelled`() async {
        var client = StdioClient()
        client.send(modern(1, "tools/call", #""name":"wait""#))
        while client.backend.calls.isEmpty { await Task.yield() }
        client.send(#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        while !client.backend.calls.contains("cancelled") { await Task.yield() }
        client.send(modern(2, "tools/call", #""name":"echo""#))
        #expect(await client.rest().map { $0["id"] } == [2])
    }

    @Test func `a subscription is acknowledged, told of a change once, and legacy clients hear it too`() async {
        var client = StdioClient()
        client.send(#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#)
        _ = await client.next()
        while client.server.catalog.watcherCount < 1 { await Task.yield() }
        client.send(
            modern(
                7, "subscriptions/listen", #""notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}"#
            ))
        let acknowledged = await client.next()
        #expect(
            acknowledged["params"]?["notifications"] == ["toolsListChanged": true, "resourceSubscriptions": ["a:b"]])
        #expect(acknowledged["params"]?["_meta"]?["io.modelcontextprotocol/subscriptionId"] == 7)
        client.server.catalog.publish([.tool("other")])
        let told = [await client.next(), await client.next(), await client.next(), await client.next()]
        let ids = told.filter { $0["method"] == "notifications/tools/list_changed" }.map {
            $0["params"]?["_meta"]?["io.modelcontextprotocol/subscriptionId"]
        }
        #expect(ids.count == 2 && ids.contains(7) && ids.contains(nil))
        client.server.catalog.announce(Changes(subjects: [.resource("b:c"), .resource("a:b")]))
        let updated = await client.next()
        #expect(updated["method"] == "notifications/resources/updated" && updated["params"]?["uri"] == "a:b")
        #expect(updated["params"]?["_meta"]?["io.modelcontextprotocol/subscriptionId"] == 7)
        client.close()
    }

    @Test(arguments: 0..<20)
    func `however the bytes are cut, the messages are the same`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let lines = (0..<30).map { _ in
            Array(String(repeating: "é{}", count: Int.random(in: 1...200, using: &random)).utf8)
        }
        var stream: [UInt8] = []
        for line in lines { stream += line + (Bool.random(using: &random) ? [13, 10] : [10]) }
        var framer = LineFramer(limit: 510)
        var found: [LineFramer.Line] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let count = min(rest.count, Int.random(in: 1...700, using: &random))
            found += framer.push(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        let expected = lines.map { $0.count > 510 ? LineFramer.Line.tooLong : .text($0) }
        #expect(found == expected, "seed \(seed)")
    }
}
