import HTTPTypes

/// Who may come in: checks of Host, Origin and token, before anything of a request is looked at.
///
/// A page in the operator's browser can reach a local port. Its requests carry its own Origin, or after DNS rebinding
/// its own Host, which is how they are told from the operator's.
package struct HTTPAccess: Sendable {
    package enum Refusal: Sendable, Equatable {
        case foreignHost, foreignOrigin, noToken
    }

    private let token: [UInt8]
    private let allowedOrigins: Set<String>
    /// The configured names besides the loopback's own.
    private let allowedHosts: Set<String>

    package static let cookie = "knap_token"
    private static let loopback: Set<String> = ["localhost", "127.0.0.1", "[::1]"]

    package init(token: String, allowedOrigins: [String], allowedHosts: [String] = []) {
        self.token = Array(token.utf8)
        self.allowedOrigins = Set(allowedOrigins.map { $0.lowercased() })
        self.allowedHosts = Self.loopback.union(allowedHosts.map { $0.lowercased() })
    }

    /// What keeps a request out even with a token.
    package func refusal(of request: HTTPRequest) -> Refusal? {
        guard allowedHosts.contains(Self.name(ofAuthority: request.authority ?? "")) else { return .foreignHost }
        let origins = request.headerFields[values: .origin]
        for origin in origins where !isAllowed(origin: origin) { return .foreignOrigin }
        return nil
    }

    private func isAllowed(origin: String) -> Bool {
        let origin = origin.lowercased()
        if allowedOrigins.contains(origin) { return true }
        guard let scheme = ["http://", "https://"].first(where: origin.hasPrefix) else { return false }
        return allowedHosts.contains(Self.name(ofAuthority: String(origin.dropFirst(scheme.count))))
    }

    /// Whether the request shows the token, in its header or in the page's cookie.
    package func hasToken(_ request: HTTPRequest, acceptingCookie: Bool = false) -> Bool {
        if let header = request.headerFields[.authorization] {
            let parts = header.split(separator: " ", maxSplits: 1)
            return parts.count == 2 && parts[0].lowercased() == "bearer" && matches(String(parts[1]).trimmingSpaces)
        }
        guard acceptingCookie else { return false }
        return request.headerFields[values: .cookie].contains { cookies in
            cookies.split(separator: ";").contains { pair in
                let parts = String(pair).trimmingSpaces.split(separator: "=", maxSplits: 1)
                return parts.count == 2 && parts[0] == Self.cookie && matches(String(parts[1]))
            }
        }
    }

    /// Takes as long for every guess of the same length, so that the time tells nothing of the token.
    package func matches(_ guess: String) -> Bool {
        let guess = Array(guess.utf8)
        var difference = UInt8(guess.count == token.count ? 0 : 1)
        for index in guess.indices { difference |= guess[index] ^ token[index % max(1, token.count)] }
        return difference == 0 && !token.isEmpty
    }

    /// `localhost:7420` → `localhost`.
    private static func name(ofAuthority authority: String) -> String {
        let authority = authority.lowercased()
        if authority.hasPrefix("["), let close = authority.firstIndex(of: "]") { return String(authority[...close]) }
        return String(authority.prefix { $0 != ":" })
    }
}

extension HTTPField.Name {
    // The names are constants with only the characters that a field's name may have.
    static let mcpVersion = HTTPField.Name("MCP-Protocol-Version").unsafelyUnwrapped
    static let mcpSessionID = HTTPField.Name("Mcp-Session-Id").unsafelyUnwrapped
    static let mcpMethod = HTTPField.Name("Mcp-Method").unsafelyUnwrapped
    static let mcpName = HTTPField.Name("Mcp-Name").unsafelyUnwrapped
    static let lastEventID = HTTPField.Name("Last-Event-ID").unsafelyUnwrapped
    static let accelBuffering = HTTPField.Name("X-Accel-Buffering").unsafelyUnwrapped
    static let referrerPolicy = HTTPField.Name("Referrer-Policy").unsafelyUnwrapped
}
