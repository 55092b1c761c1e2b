import Gateway
import Glibc
import NIOCore
import Testing

/// A socket that is written and read by hand, by a thread that may block.
final class Peer: Sendable {
    private let socket: Int32

    init(_ fixture: HTTPFixture) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(fixture.port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(connected == 0)
    }

    deinit { close(socket) }

    /// False when the other side has gone.
    @discardableResult
    func send(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// What has come, without waiting; nil at the end.
    func received() -> String? {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = recv(socket, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        if count < 0, errno == EAGAIN { return "" }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }

    /// Sends a byte now and then until the other side ends; what it said before.
    func trickle(_ byte: String) async throws -> String {
        var all = ""
        while let more = received() {
            all += more
            send(byte)
            try await Task.sleep(for: .milliseconds(5))
        }
        return all
    }
}

@Suite struct SlowClientTests {
    private let head = """
        POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(HTTPFixture.token)\r\n\
        Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n
        """
    private let ping = #"{"jsonrpc":"2.0","id":1,"method":"ping"}"#

    private func limits(_ set: (inout ConnectionLimits) -> Void) -> ConnectionLimits {
        var limits = ConnectionLimits()
        set(&limits)
        return limits
    }

    @Test(arguments: ["", "POST /mcp HTTP/1.1\r\nX-Slow: "])
    func `a first request whose head does not come ends the connection`(beginning: String) async throws {
        let fixture = try await HTTPFixture(limits: limits { $0.firstHead = .milliseconds(100) })
        let peer = try Peer(fixture)
        peer.send(beginning)
        #expect(try await peer.trickle(beginning.isEmpty ? "" : "x") == "")
        await fixture.listener.stop()
    }

    @Test func `a connection may be idle for a while after each answer, and its next request may come late`() async throws {
        let fixture = try await HTTPFixture(limits: limits { $0.nextHead = .milliseconds(300) })
        let peer = try Peer(fixture)
        for _ in 0..<3 {
            try await Task.sleep(for: .milliseconds(100))
            peer.send(head + "Content-Length: \(ping.utf8.count)\r\n\r\n" + ping)
            var answer = ""
            while !answer.contains("result"), let more = peer.received() {
                answer += more
                await Task.yield()
            }
            #expect(answer.hasPrefix("HTTP/1.1 200"))
        }
        peer.send("POST /mcp HTTP/1.1\r\nX-Slow: ")
        #expect(try await peer.trickle("x") == "")
        await fixture.listener.stop()
    }

    @Test func `a body that comes too slowly is answered with 408, and one that comes fast enough is not`() async throws {
        let fixture = try await HTTPFixture(
            limits: limits {
                $0.body = .milliseconds(200)
                $0.bodyRate = 20
                $0.closing = .milliseconds(100)
            })
        let slow = try Peer(fixture)
        slow.send(head + "Content-Length: 1000000\r\n\r\n")
        let answer = try await slow.trickle("")
        #expect(answer.hasPrefix("HTTP/1.1 408") && answer.lowercased().contains("connection: close"))
        // The same time many times over, at a byte in five milliseconds.
        let steady = try Peer(fixture)
        let body = ping + String(repeating: " ", count: 300)
        steady.send(head + "Content-Length: \(body.utf8.count)\r\n\r\n")
        for byte in body {
            steady.send(String(byte))
            try await Task.sleep(for: .milliseconds(5))
        }
        var served = ""
        while !served.contains("result"), let more = steady.received() { served += more }
        #expect(served.hasPrefix("HTTP/1.1 200"))
        await fixture.listener.stop()
    }

    @Test func `what comes of a body after its refusal is read for a while only`() async throws {
        let fixture = try await HTTPFixture(limits: limits { $0.rest = .milliseconds(200) })
        let peer = try Peer(fixture)
        peer.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        #expect(try await peer.trickle("x").hasPrefix("HTTP/1.1 401"))
        await fixture.listener.stop()
    }

    @Test func `a client that takes nothing of what it is sent loses its connection, and its call is cancelled`() async throws {
        let fixture = try await HTTPFixture(limits: limits { $0.unread = .milliseconds(500) })
        let peer = try Peer(fixture)
        let body = modern(1, "tools/call", #""name":"flood","arguments":{}"#)
            .replacing(#""_meta":{"#, with: #""_meta":{"progressToken":1,"#)
        let fields = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: flood\r\n"
        peer.send(head + fields + "Content-Length: \(body.utf8.count)\r\n\r\n" + body)
        while !fixture.backend.calls.contains("cancelled") { try await Task.sleep(for: .milliseconds(10)) }
        await fixture.listener.stop()
        withExtendedLifetime(peer) {}
    }

    @Test func `there are so many connections at once, and one more is told to come later`() async throws {
        let fixture = try await HTTPFixture(limits: limits { $0.connections = 3 })
        let peers = try (0..<3).map { _ in try Peer(fixture) }
        for peer in peers {
            peer.send(head + "Content-Length: \(ping.utf8.count)\r\n\r\n" + ping)
            while peer.received() == "" { await Task.yield() }
        }
        #expect(try await fixture.post(ping).hasPrefix("HTTP/1.1 503"))
        withExtendedLifetime(peers) {}
        await fixture.listener.stop()
    }
}
