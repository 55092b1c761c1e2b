import CKnap
import Glibc
import KnapPlugin

/// `knap.net/1`: connections by name, to what the plugin was granted.
///
/// Names are resolved by the system's resolver, which blocks; so each connection is made on a thread of its own.
enum NetExtension {
    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let table = permanent(
        knap_host_net_t(
            size: size(of: knap_host_net_t.self), reserved: 0,
            connect: { host, name, port, deadline, done, context in
                guard let host, let done, port != 0 else { return KNAP_INVALID_ARGUMENT.status }
                let name = String(text: name)
                guard isGranted(name, port, to: InstanceContext.of(host)) else { return KNAP_PERMISSION_DENIED.status }
                let answer = Answer(done: done, context: context)
                connect(name, port, until: Deadline(nanoseconds: deadline)) { answer.give($0) }
                return 0
            }))

    static func isGranted(_ name: String, _ port: UInt16, to instance: InstanceContext) -> Bool {
        if instance.grants.connect.contains(where: { ConnectionGrant($0).allows(name, port) }) { return true }
        instance.logger.warning("connection refused", metadata: ["to": "\(name):\(port)", "reason": "not granted"])
        return false
    }

    /// Connects on a thread of its own; `done` gets the descriptor.
    static func connect(
        _ name: String, _ port: UInt16, until deadline: Deadline,
        done: @escaping @Sendable (Result<Int32, PluginError>) -> Void
    ) {
        Task.detached { done(await onOwnThread { connect(name, port, until: deadline) }) }
    }

    /// The plugin's function and its context, which it may be given on any thread.
    private struct Answer: @unchecked Sendable {
        let done: @convention(c) (UnsafeMutableRawPointer?, knap_status_t, Int32, knap_text_t) -> Void
        let context: UnsafeMutableRawPointer?

        func give(_ result: Result<Int32, PluginError>) {
            switch result {
            case .success(let descriptor): done(context, 0, descriptor, knap_text_t())
            case .failure(let error):
                var message = error.message
                message.withUTF8 { text in
                    text.withMemoryRebound(to: CChar.self) {
                        done(context, error.code.rawValue, -1, knap_text_t(data: $0.baseAddress, size: UInt64($0.count)))
                    }
                }
            }
        }
    }

    /// Tries each address of the name in turn.
    private static func connect(_ name: String, _ port: UInt16, until deadline: Deadline) -> Result<Int32, PluginError> {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let failed = getaddrinfo(name, String(port), &hints, &list)
        guard failed == 0 else {
            return .failure(PluginError(code: .unavailable, message: "\(name) has no address: \(String(cString: gai_strerror(failed)))"))
        }
        defer { freeaddrinfo(list) }
        var reason: Int32 = EHOSTUNREACH
        var address = list
        while let candidate = address?.pointee {
            let descriptor = socket(candidate.ai_family, candidate.ai_socktype | Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
            if descriptor >= 0 {
                reason = finish(descriptor, candidate, deadline)
                if reason == 0 { return .success(descriptor) }
                close(descriptor)
                if reason == ETIMEDOUT { break }
            }
            address = candidate.ai_next
        }
        return .failure(
            PluginError(
                code: reason == ETIMEDOUT ? .deadlineExceeded : .unavailable,
                message: "\(name):\(port) cannot be reached: \(errorText(reason))"))
    }

    /// 0 once the socket is connected, else the error.
    private static func finish(_ descriptor: Int32, _ address: addrinfo, _ deadline: Deadline) -> Int32 {
        if Glibc.connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return 0 }
        guard errno == EINPROGRESS else { return errno }
        let limit = deadline.nanoseconds == 0 ? 30_000 : deadline.remaining.components.seconds * 1000
        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&wait, 1, Int32(clamping: max(1, limit))) > 0 else { return ETIMEDOUT }
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        return code
    }
}

/// One `host:port` of a manifest: `*` is any host or port, `*.example.org` the names below one.
struct ConnectionGrant {
    private let host: String
    private let port: UInt16?

    init(_ text: String) {
        let colon = text.lastIndex(of: ":") ?? text.endIndex
        host = text[..<colon].lowercased()
        port = colon == text.endIndex ? nil : UInt16(text[text.index(after: colon)...])
    }

    func allows(_ name: String, _ wanted: UInt16) -> Bool {
        guard port == nil || port == wanted else { return false }
        let name = name.lowercased()
        if host == "*" || host == name || host == "[\(name)]" { return true }
        return host.hasPrefix("*.") && name.hasSuffix(host.dropFirst()) && name.count > host.count - 1
    }
}
