import Gateway
import Glibc
import KnapJSON
import Testing

/// A real server on a free port, and a real socket to it.
struct HTTPFixture {
    let server = Server.sample()
    let backend = MemoryBackend()
    let listener: HTTPListener
    let site: HTTPSite
    let port: Int

    static let token = "a-token-of-the-test"

    init(limits: ConnectionLimits = ConnectionLimits()) async throws {
        listener = HTTPListener(limits: limits)
        site = HTTPSite(
            server: server, sessions: SessionStore(server: server),
            access: HTTPAccess(token: Self.token, allowedOrigins: ["https://app.example"]),
            backend: { [backend] _ in backend },
            page: { StatusReport.Contents(plugins: [["name": "<vault>", "state": "active"]]) })
        let url = try await listener.start(site, at: .init(host: "127.0.0.1", port: 0), sockets: nil)
        port = try #require(url.split(separator: ":").last.flatMap { Int($0) })
    }

    /// Sends a request and reads what comes until the end of the answer, or until `enough` is in it.
    func exchange(_ request: String, until enough: String? = nil) async throws -> String {
        let port = port
        // A thread of its own: the socket blocks.
        return try await withCheckedThrowingContinuation { continuation in
            let thread = Thread { continuation.resume(with: Result { try Self.blocking(request, port, enough) }) }
            thread.start()
        }
    }

    private static func blocking(_ request: String, _ port: Int, _ enough: String?) throws -> String {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(connected == 0)
        var timeout = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        let bytes = Array(request.utf8)
        try #require(Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        var received = ""
        var chunk = [UInt8](repeating: 0, count: 65536)
        while case let count = recv(socket, &chunk, chunk.count, 0), count > 0 {
            received += String(decoding: chunk[..<count], as: UTF8.self)
            if let enough, received.contains(enough) { break }
        }
        return received
    }

    /// `length`: as if the body had so many bytes.
    func post(
        _ body: String, length: Int? = nil, host: String = "localhost", token: String? = HTTPFixture.token, headers: [String] = [],
        type: String = "application/json", accept: String = "application/json, text/event-stream"
    ) async throws -> String {
        var lines = [
            "POST /mcp HTTP/1.1", "Host: \(host)", "Content-Type: \(type)", "Accept: \(accept)", "Connection: close",
        ]
        if let token { lines.append("Authorization: Bearer \(token)") }
        lines += headers + ["Content-Length: \(length ?? body.utf8.count)", "", body]
        return try await exchange(lines.joined(separator: "\r\n"))
    }
}

extension HTTPFixture {
    func delete(_ headers: [String]) async throws -> String {
        let lines = [
            "DELETE /mcp HTTP/1.1", "Host: localhost", "Authorization: Bearer \(Self.token)", "Connection: close",
        ]
        return try await exchange((lines + headers + ["", ""]).joined(separator: "\r\n"))
    }
}

/// A thread that runs one block.
private struct Thread {
    private final class Block {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private let block: Block
    init(_ run: @escaping @Sendable () -> Void) { block = Block(run) }

    func start() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(block).toOpaque()
        pthread_create(
            &thread, nil,
            { context in
                if let context { Unmanaged<Block>.fromOpaque(context).takeRetainedValue().run() }
                return nil
            }, context)
        pthread_detach(thread)
    }
}

private func headers(_ method: String, name: String? = nil, version: String = "2026-07-28") -> [String] {
    ["MCP-Protocol-Version: \(version)", "Mcp-Method: \(method)"] + (name.map { ["Mcp-Name: \($0)"] } ?? [])
}

@Suite struct HTTPTests {
    private let ping = #"{"jsonrpc":"2.0","id":1,"method":"ping"}"#
    private let initialize =
        #"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#

    @Test func `strangers are refused before their message is read`() async throws {
        let fixture = try await HTTPFixture()
        #expect(try await fixture.post(ping, host: "evil.example").hasPrefix("HTTP/1.1 403"))
        #expect(try await fixture.post(ping, headers: ["Origin: http://evil.example"]).hasPrefix("HTTP/1.1 403"))
        #expect(try await fixture.post(ping, headers: ["Origin: null"]).hasPrefix("HTTP/1.1 403"))
        #expect(try await fixture.post(ping, headers: ["Origin: https://app.example"]).hasPrefix("HTTP/1.1 200"))
        #expect(try await fixture.post(ping, headers: ["Origin: http://localhost:3000"]).hasPrefix("HTTP/1.1 200"))
        let wrong = try await fixture.post(ping, token: "a-token-of-the-tesT")
        #expect(wrong.hasPrefix("HTTP/1.1 401") && wrong.lowercased().contains("www-authenticate: bearer"))
        #expect(try await fixture.post(ping, token: nil).hasPrefix("HTTP/1.1 401"))
        await fixture.listener.stop()
    }

    @Test func `each mistake has its status`() async throws {
        let fixture = try await HTTPFixture()
        #expect(try await fixture.post(ping, type: "text/plain").hasPrefix("HTTP/1.1 415"))
        #expect(try await fixture.post(ping, accept: "application/json").hasPrefix("HTTP/1.1 406"))
        #expect(try await fixture.post("{").hasPrefix("HTTP/1.1 400"))
        #expect(try await fixture.post("{").contains(" GMT\r\n"))
        #expect(try await fixture.post("[]").hasPrefix("HTTP/1.1 400"))
        #expect(
            try await fixture.post(#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).hasPrefix("HTTP/1.1 202")
        )
        #expect(try await fixture.post(" ", length: LineFramer.defaultLimit + 1).hasPrefix("HTTP/1.1 413"))
        let list = modern(1, "tools/list")
        #expect(try await fixture.post(list, headers: headers("tools/list")).hasPrefix("HTTP/1.1 200"))
        for wrong in [
            headers("tools/call"), headers("tools/list", version: "2030-01-01"),
            headers("tools/list") + ["Mcp-Method: tools/list"], [],
        ] {
            let answer = try await fixture.post(list, headers: wrong)
            #expect(answer.hasPrefix("HTTP/1.1 400") && answer.contains("-32020"), "\(wrong)")
        }
        let call = modern(1, "tools/call", #""name":"echo""#)
        #expect(
            try await fixture.post(call, headers: headers("tools/call", name: "=?base64?ZWNobw==?=")).hasPrefix(
                "HTTP/1.1 200"))
        #expect(
            try await fixture.post(call, headers: headers("tools/call", name: "=?base64?ZWNobw?=")).contains("-32020"))
        let unknown = try await fixture.post(modern(1, "ping"), headers: headers("ping"))
        #expect(unknown.hasPrefix("HTTP/1.1 404") && unknown.contains("-32601"))
        let bare = try await fixture.post(ping, headers: headers("ping"))
        #expect(bare.hasPrefix("HTTP/1.1 400") && bare.contains("-32602"))
        await fixture.listener.stop()
    }

    @Test func `a session is optional, outlives the process, ends once, and one of somebody else is unknown`()
        async throws
    {
        let fixture = try await HTTPFixture()
        // Also after a good server/discover, whose version header is still sent.
        let answer = try await fixture.post(initialize, headers: ["MCP-Protocol-Version: 2026-07-28"])
        #expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains("2025-11-25"))
        let id = try #require(answer.split(separator: "\r\n").first { $0.lowercased().hasPrefix("mcp-session-id: ") })
        #expect(try await fixture.post(ping).hasPrefix("HTTP/1.1 200"))
        #expect(try await fixture.post(ping, headers: [String(id)]).hasPrefix("HTTP/1.1 200"))
        // The next process has the same key and no memory.
        let next = try await HTTPFixture()
        #expect(try await next.post(ping, headers: [String(id)]).hasPrefix("HTTP/1.1 200"))
        let strange = ["Mcp-Session-Id: of-another-server", "MCP-Protocol-Version: 2025-06-18"]
        let refused = try await fixture.post(ping, headers: strange)
        #expect(refused.hasPrefix("HTTP/1.1 404") && refused.contains(#""id":1"#))
        #expect(try await fixture.delete([String(id)]).hasPrefix("HTTP/1.1 204"))
        #expect(try await fixture.post(ping, headers: [String(id)]).hasPrefix("HTTP/1.1 404"))
        #expect(try await fixture.delete([String(id)]).hasPrefix("HTTP/1.1 404"))
        await fixture.listener.stop()
        await next.listener.stop()
    }

    @Test func `progress turns the answer into events`() async throws {
        let fixture = try await HTTPFixture()
        let answer = try await fixture.post(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","_meta":{"progressToken":1}}}"#)
        #expect(answer.contains("text/event-stream") && answer.contains("notifications/progress"))
        #expect(answer.contains(#""id":1"#))
        await fixture.listener.stop()
    }

    @Test func `a disconnect is the cancel of a modern request`() async throws {
        let fixture = try await HTTPFixture()
        let body = modern(1, "tools/call", #""name":"wait""#)
        let head =
            ["POST /mcp HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
            + ["Authorization: Bearer \(HTTPFixture.token)", "Content-Length: \(body.utf8.count)"]
            + headers("tools/call", name: "wait")
        do {
            let peer = try Peer(fixture)
            peer.send(head.joined(separator: "\r\n") + "\r\n\r\n" + body)
            while fixture.backend.calls.isEmpty { await Task.yield() }
        }
        while !fixture.backend.calls.contains("cancelled") { await Task.yield() }
        await fixture.listener.stop()
    }

    @Test func `legacy GET streams and modern subscriptions hear of a changed list once`() async throws {
        let fixture = try await HTTPFixture()
        let common =
            "Host: localhost\r\nAuthorization: Bearer \(HTTPFixture.token)\r\nAccept: text/event-stream, application/json\r\n"
        async let legacy = fixture.exchange("GET /mcp HTTP/1.1\r\n\(common)\r\n", until: "list_changed")
        let body = modern(9, "subscriptions/listen", #""notifications":{"toolsListChanged":true}"#)
        let post =
            "POST /mcp HTTP/1.1\r\n\(common)Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
            + headers("subscriptions/listen").joined(separator: "\r\n") + "\r\n\r\n\(body)"
        async let listening = fixture.exchange(post, until: "list_changed")
        while fixture.server.catalog.watcherCount < 2 { await Task.yield() }
        fixture.server.catalog.publish([.tool("other")])
        let (pushed, subscribed) = try await (legacy, listening)
        #expect(pushed.contains("notifications/tools/list_changed"))
        #expect(
            subscribed.contains("acknowledged") && subscribed.contains(#""io.modelcontextprotocol/subscriptionId":9"#))
        await fixture.listener.stop()
    }

    @Test func `the stateless era has neither GET nor DELETE`() async throws {
        let fixture = try await HTTPFixture()
        let common = "Host: localhost\r\nAuthorization: Bearer \(HTTPFixture.token)\r\nConnection: close\r\n"
        let get = "GET /mcp HTTP/1.1\r\n\(common)MCP-Protocol-Version: 2026-07-28\r\n\r\n"
        #expect(try await fixture.exchange(get).hasPrefix("HTTP/1.1 405"))
        #expect(try await fixture.delete(["MCP-Protocol-Version: 2026-07-28"]).hasPrefix("HTTP/1.1 405"))
        #expect(try await fixture.delete([]).hasPrefix("HTTP/1.1 400"))
        await fixture.listener.stop()
    }

    @Test func `the page needs the token, which leaves the address for a cookie, and escapes what plugins say`()
        async throws
    {
        let fixture = try await HTTPFixture()
        func get(_ path: String, _ more: String = "") async throws -> String {
            try await fixture.exchange("GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\(more)\r\n")
        }
        #expect(try await get("/health").hasPrefix("HTTP/1.1 200"))
        #expect(try await get("/").hasPrefix("HTTP/1.1 401"))
        let redirected = try await get("/?token=\(HTTPFixture.token)")
        #expect(redirected.hasPrefix("HTTP/1.1 303") && redirected.contains("HttpOnly; SameSite=Strict"))
        let page = try await get("/", "Cookie: knap_token=\(HTTPFixture.token)\r\n")
        #expect(page.hasPrefix("HTTP/1.1 200") && page.contains("&lt;vault&gt;") && page.contains("read_note"))
        await fixture.listener.stop()
    }

    @Test func `a server that was stopped serves again, and tells of changes, when what would replace it failed`()
        async throws
    {
        let fixture = try await HTTPFixture()
        let watch = fixture.server.catalog.watch()
        fixture.server.catalog.close()
        #expect(await watch.next() == nil)
        await fixture.listener.stop()
        fixture.server.catalog.open()
        _ = try await fixture.listener.start(
            fixture.site, at: .init(host: "127.0.0.1", port: fixture.port), sockets: nil)
        #expect(try await fixture.post(ping).hasPrefix("HTTP/1.1 200"))
        fixture.server.catalog.publish([.tool("other")])
        #expect(await watch.next()?.lists.contains(.tools) == true)
        await fixture.listener.stop()
    }

    @Test func `a port in use is an error that says what to do`() async throws {
        let fixture = try await HTTPFixture()
        let site = HTTPSite(
            server: fixture.server, sessions: SessionStore(server: fixture.server),
            access: HTTPAccess(token: "x", allowedOrigins: []), backend: { _ in fixture.backend },
            page: { StatusReport.Contents() })
        let failure = await #expect(throws: HTTPListener.Failure.self) {
            _ = try await HTTPListener().start(site, at: .init(host: "127.0.0.1", port: fixture.port), sockets: nil)
        }
        #expect(failure?.message.contains("Set another port") == true)
        await fixture.listener.stop()
    }
}
