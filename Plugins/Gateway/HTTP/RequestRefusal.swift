import NIOHTTP1

/// Why a request is not looked at any further, and neither is what follows it on its connection: where one request ends
/// and the next begins would be a guess, and a proxy in front may guess differently.
struct RequestRefusal: Sendable {
    var status: HTTPResponseStatus
    var reason: String

    /// What is wrong with a head that the parser took; nil if nothing is.
    init?(of head: HTTPRequestHead) {
        let isOld = head.version != .http1_1
        let hosts = head.headers["host"]
        if hosts.count > 1 || hosts.isEmpty && !isOld {
            self.init(.badRequest, "A request has one Host, and this one has \(hosts.count).")
        } else if let problem = Self.framing(of: head, isOld: isOld) {
            self = problem
        } else if head.method == .CONNECT {
            self.init(.notImplemented, "This server makes no tunnels.")
        } else if !Self.isServed(head.uri, host: hosts.first) {
            self.init(.badRequest, "The target must be a path, or an http address of the same host as Host.")
        } else {
            return nil
        }
    }

    /// The parser refuses every other doubt about where the body ends.
    private static func framing(of head: HTTPRequestHead, isOld: Bool) -> RequestRefusal? {
        let codings = head.headers["transfer-encoding"]
        if codings.isEmpty { return nil }
        // RFC 9112, section 6.1.
        if isOld { return RequestRefusal(.badRequest, "HTTP/1.0 has no Transfer-Encoding.") }
        if codings.count == 1, codings[0].lowercased() == "chunked" { return nil }
        return RequestRefusal(.notImplemented, "The only Transfer-Encoding that is known is chunked.")
    }

    /// A whole address is for proxies; it is taken where it says the same as Host (RFC 9112, section 3.2.2).
    private static func isServed(_ target: String, host: String?) -> Bool {
        if target.hasPrefix("/") || target == "*" { return true }
        let target = target.lowercased()
        guard let scheme = ["http://", "https://"].first(where: target.hasPrefix) else { return false }
        return target.dropFirst(scheme.count).prefix { $0 != "/" && $0 != "?" && $0 != "#" } == (host ?? "").lowercased()
    }

    /// The path and query of a target that is served.
    static func path(of target: String) -> String {
        guard !target.hasPrefix("/"), let scheme = target.firstRange(of: "://") else { return target }
        let path = target[scheme.upperBound...].drop { $0 != "/" && $0 != "?" }
        return path.hasPrefix("/") ? String(path) : "/" + path
    }

    var answer: Answer { .text(reason, status: Int(status.code)) }

    /// What the parser did not take.
    init(_ error: HTTPParserError) {
        switch error {
        case .headerOverflow:
            self.init(.requestHeaderFieldsTooLarge, "The head or the trailer is too large: 1000 fields and 80 KiB at most.")
        case .invalidVersion: self.init(.httpVersionNotSupported, "This server speaks HTTP/1.1.")
        case .invalidMethod: self.init(.notImplemented, "There is no such method, or this is not HTTP.")
        case .invalidEOFState: self.init(.badRequest, "The request ended before it was whole.")
        default: self.init(.badRequest, "This is not HTTP/1.1 (\(error)).")
        }
    }

    init(_ status: HTTPResponseStatus, _ reason: String) {
        self.status = status
        self.reason = reason
    }
}
