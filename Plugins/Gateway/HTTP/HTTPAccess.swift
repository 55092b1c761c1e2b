import HTTPTypes

/// Who may come in: checks of Host, Origin and token, before anything of a request is looked at.
///
/// A page in the operator's browser can reach a local port. Its requests carry its own Origin, or after DNS rebinding
/// its own Host, which is how they are told from the operator's.
package struct HTTPAccess: Sendable {
    package enum Refusal: Sendable, Equatable {
        case foreignHost, foreignOrigin
    }

    private let token: [UInt8]
    /// Of those who are told apart, by their names.
    private let named: [(name: String, token: [UInt8])]
    private let allowedOrigins: Set<String>
    /// What the server answers to: the loopback's own names and the configured ones.
    let allowedHosts: Set<String>

    package static let cookie = "knap_token"
    private static let loopback: Set<String> = ["localhost", "127.0.0.1", "[::1]"]

    package init(
        token: String, named: [String: String] = [:], allowedOrigins: [String], allowedHosts: [String] = []
    ) {
        self.token = Array(token.utf8)
        self.named = named.map { ($0, Array($1.utf8)) }
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
        if let header = request.headerFields[.authorization] { return Self.bearer(header).map(matches) ?? false }
        guard acceptingCookie else { return false }
        return request.headerFields[values: .cookie].contains { cookies in
            cookies.split(separator: ";").contains { pair in
                let parts = String(pair).trimmingSpaces.split(separator: "=", maxSplits: 1)
                return parts.count == 2 && parts[0] == Self.cookie && matches(parts[1])
            }
        }
    }

    /// The token of an `Authorization` field (RFC 6750, section 2.1), as a part of it: every request has one.
    static func bearer(_ field: String) -> Substring? {
        let scheme = "bearer "
        guard field.utf8.count > scheme.utf8.count,
            zip(field.utf8, scheme.utf8).allSatisfy({ $0 | 0x20 == $1 })
        else { return nil }
        var token = field[field.utf8.index(field.startIndex, offsetBy: scheme.utf8.count)...]
        while token.utf8.first == UInt8(ascii: " ") { token.removeFirst() }
        while token.utf8.last == UInt8(ascii: " ") { token.removeLast() }
        return token
    }

    /// Takes as long for every guess of the same length, so that the time tells nothing of the token.
    package func matches(_ guess: some StringProtocol) -> Bool { Self.matches(guess, token) }

    /// Whose token it is; nil where it is nobody's who has a name.
    func name(of guess: some StringProtocol) -> String? {
        // All are compared, so that the time does not tell which are near.
        named.reduce(nil) { found, each in Self.matches(guess, each.token) ? each.name : found }
    }

    private static func matches(_ guess: some StringProtocol, _ token: [UInt8]) -> Bool {
        guard !token.isEmpty else { return false }
        var difference = UInt8(guess.utf8.count == token.count ? 0 : 1)
        var index = 0
        for byte in guess.utf8 {
            difference |= byte ^ token[index]
            index = index + 1 == token.count ? 0 : index + 1
        }
        return difference == 0
    }

    /// `localhost:7420` → `localhost`.
    static func name(ofAuthority authority: String) -> String {
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
    static let referrerPolicy = HTTPField.Name("Referrer-Policy").unsafelyUnwrapped
}
