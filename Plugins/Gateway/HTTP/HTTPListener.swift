import Glibc
import KnapJSON
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// Keeps listening sockets for the next generation, so that a reload refuses no connection.
package protocol SocketKeeper: Sendable {
    func keep(_ name: String, socket: Int32)
    func take(_ name: String) -> Int32?
}

/// The listening socket, and the connections that come of it.
///
/// The socket may be the one that an earlier generation left with the host. HTTP/1.1 itself is SwiftNIO's; a
/// ``HTTPConnection`` makes requests and answers of it.
package final class HTTPListener: Sendable {
    package struct Address: Sendable {
        package var host: String
        package var port: Int

        package init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    package struct Failure: Error, Sendable {
        package var message: String
    }

    private enum State {
        case idle
        case running(url: String, channel: any Channel)
        case failed(String)
        case stopped
    }

    private static let socketName = "http"
    /// For answers under way, and then for clients to read what was sent: together less than the hook may take.
    private static let patience = Duration.seconds(8), readingPatience = Duration.seconds(2)

    /// Connections at one time that are told to come later; others are closed.
    private static let turnedAway = 64

    private let limits: ConnectionLimits
    private let bodies = BodyBudget()
    private let accepts = Atomic(true)
    private let site = Mutex<HTTPSite?>(nil)
    private let state = Mutex(State.idle)
    private let connections = Connections()

    package init(limits: ConnectionLimits = ConnectionLimits()) { self.limits = limits }

    /// Starts to accept, and answers the URL.
    ///
    /// - Parameter certificate: For TLS; nil for none.
    package func start(
        _ site: HTTPSite, at address: Address, sockets: (any SocketKeeper)?, certificate: ServerCertificate? = nil
    ) async throws -> String {
        let kept = sockets?.take(Self.socketName).flatMap { Self.adopted($0, for: address) }
        let socket = try kept ?? Self.bound(to: address)
        let port = Self.port(of: socket)
        if kept == nil { sockets?.keep(Self.socketName, socket: socket) }

        let scheme = certificate == nil ? "http" : "https"
        let site = site.served(by: scheme, port: port)
        self.site.withLock { $0 = site }
        accepts.store(true, ordering: .relaxed)
        connections.open()
        let unread = ChannelOptions.Types.SocketOption.Value(limits.unread.nanoseconds / 1_000_000)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelInitializer { [self] listening in
                listening.eventLoop.makeCompletedFuture {
                    try listening.pipeline.syncOperations.addHandler(
                        AcceptingRest { [weak self] in self?.accepts.load(ordering: .relaxed) ?? false })
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: unread)
            // Who has sent its last request may still read the answer.
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { [self] connection in
                connection.eventLoop.makeCompletedFuture { try add(connection, to: site, certificate) }
            }
            .withBoundSocket(socket).get()
        let url = "\(scheme)://\(address.host.contains(":") ? "[\(address.host)]" : address.host):\(port)"
        state.withLock { $0 = .running(url: url, channel: channel) }
        return url
    }

    /// Has a new connection served.
    private func add(_ connection: any Channel, to site: HTTPSite, _ certificate: ServerCertificate?) throws {
        let pipeline = connection.pipeline.syncOperations
        if let certificate { try pipeline.addHandler(NIOSSLServerHandler(context: certificate.context())) }
        let count = connections.count
        // Those that are turned away take a descriptor too, for as long as it takes to say so.
        guard count < limits.connections + Self.turnedAway else { throw Failure(message: "There are too many connections.") }
        connections.add(connection)
        guard count < limits.connections else { return try pipeline.addHandler(TurnedAway()) }
        var decoder = NIOHTTPDecoderLimitConfiguration()
        decoder.maxHeaderListSize = 80 * 1024
        decoder.maxHeaderFieldCount = 1000
        try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
            withEncoderConfiguration: .init(), withDecoderLimitConfiguration: decoder)
        try pipeline.addHandler(
            HTTPConnection(limits: limits, connections: connections, bodies: bodies) { await site.respond(to: $0) })
    }

    /// Remembers why there is no HTTP.
    package func failed(_ reason: String) { state.withLock { $0 = .failed(reason) } }

    /// Takes no connection any more: those that come wait at the kept socket for whoever serves it next.
    package func stopAccepting() async {
        accepts.store(false, ordering: .relaxed)
        // Closing at once would reset connections that are just being accepted.
        try? await runningChannel?.setOption(.autoRead, value: false).get()
    }

    /// Lets the requests under way be answered, for a bounded time, then closes every connection. What the host keeps
    /// stays open.
    package func stop() async {
        await stopAccepting()
        await connections.settle(requests: Self.patience, fresh: .milliseconds(500))
        site.withLock { $0 }?.giveUp()
        await connections.close(within: Self.readingPatience)
        try? await runningChannel?.close()
        state.withLock { $0 = .stopped }
    }

    private var runningChannel: (any Channel)? {
        state.withLock { state in
            if case .running(_, let channel) = state { channel } else { nil }
        }
    }

    package var status: JSON {
        state.withLock { state in
            switch state {
            case .idle: ["state": "off"]
            case .running(let url, _):
                [
                    "state": "listening", "url": .string(url), "mcp": .string(url + "/mcp"),
                    "openapi": .string(url + RESTEndpoint.documentPath),
                ]
            case .failed(let reason): ["state": "failed", "reason": .string(reason)]
            case .stopped: ["state": "stopped"]
            }
        }
    }
}

// MARK: - Sockets

extension HTTPListener {
    /// The kept socket, unless the configuration now names another port.
    private static func adopted(_ socket: Int32, for address: Address) -> Int32? {
        let port = port(of: socket)
        guard port != 0, address.port == 0 || address.port == port else {
            close(socket)
            return nil
        }
        return socket
    }

    private static func bound(to address: Address) throws(Failure) -> Int32 {
        var wanted = sockaddr_in()
        wanted.sin_family = sa_family_t(AF_INET)
        wanted.sin_port = in_port_t(truncatingIfNeeded: address.port).bigEndian
        guard inet_pton(AF_INET, address.host, &wanted.sin_addr) == 1, (0...65535).contains(address.port) else {
            throw Failure(
                message: "\(address.host):\(address.port) is not an IPv4 address and a port; set host and port.")
        }
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw failure("opened", address) }
        var yes: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let status = withUnsafePointer(to: &wanted) { wanted in
            wanted.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0, listen(socket, 256) == 0 else {
            let failure = failure("bound", address)
            close(socket)
            throw failure
        }
        return socket
    }

    private static func failure(_ what: String, _ address: Address) -> Failure {
        let reason = String(cString: strerror(errno))
        let advice = errno == EADDRINUSE ? " Set another port for the gateway, or 0 for any free one." : ""
        return Failure(message: "\(address.host):\(address.port) cannot be \(what): \(reason).\(advice)")
    }

    private static func port(of socket: Int32) -> Int {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &size) }
        }
        return status == 0 ? Int(UInt16(bigEndian: address.sin_port)) : 0
    }
}
