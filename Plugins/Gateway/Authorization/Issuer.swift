import FoundationEssentials

/// The authorization server whose tokens are taken.
package struct Issuer: Sendable {
    package struct Unusable: Error, Sendable {
        package var message: String
    }

    /// As its tokens name it, which is compared letter by letter (RFC 8414, section 3.3).
    package let identifier: String
    /// Host and port, for the names of callers.
    let authority: String
    /// Empty for an issuer at the root of its host.
    private let path: String
    /// Nil: its metadata says where the keys are.
    let keysAddress: String?

    package init(_ identifier: String, keysAddress: String? = nil) throws(Unusable) {
        guard Self.isSafe(identifier), !identifier.contains("?"), !identifier.contains("#") else {
            throw Unusable(message: "oauth.issuer \(identifier) \(Self.requirement).")
        }
        if let keysAddress, !Self.isSafe(keysAddress) {
            throw Unusable(message: "oauth.jwks_uri \(keysAddress) \(Self.requirement).")
        }
        self.identifier = identifier
        let parts = identifier.split(separator: "/", maxSplits: 2)
        authority = parts.count > 1 ? String(parts[1]) : ""
        let path = parts.count > 2 ? "/" + parts[2] : ""
        self.path = path.hasSuffix("/") ? String(path.dropLast()) : path
        self.keysAddress = keysAddress
    }

    private static let requirement = "must be an https address; http is taken for an issuer on this machine only"

    /// Whether what comes from an address can be believed: keys that came in the clear could be anybody's.
    static func isSafe(_ address: String) -> Bool {
        guard let url = URL(string: address), let host = url.host(), url.user() == nil else { return false }
        let isHere = ["localhost", "127.0.0.1", "::1", "[::1]"].contains(host)
        return url.scheme == "https" || url.scheme == "http" && isHere
    }

    /// Where its metadata may be, in the order to try: RFC 8414, section 3.1, then OpenID Connect Discovery 1.0,
    /// section 4, then the latter's name in the former's place.
    var metadataAddresses: [String] {
        let origin = identifier.prefix { $0 != "/" } + "//" + authority
        let addresses = [
            "\(origin)/.well-known/oauth-authorization-server\(path)",
            "\(origin)\(path)/.well-known/openid-configuration",
        ]
        return path.isEmpty ? addresses : addresses + ["\(origin)/.well-known/openid-configuration\(path)"]
    }
}
