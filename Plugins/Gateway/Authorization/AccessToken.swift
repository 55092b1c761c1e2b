import KnapJSON

/// A JWT access token taken apart (RFC 7519; RFC 9068). Nothing of it is true before its signature was checked.
struct AccessToken: Sendable {
    /// Why a token is not taken.
    struct Invalid: Error {
        var reason: String
        init(_ reason: String) { self.reason = reason }
    }

    private(set) var algorithm = ""
    private(set) var keyID: String?
    private(set) var issuer: String?
    private(set) var audiences: [String] = []
    private(set) var subject: String?
    /// Seconds since 1970.
    private(set) var expiry: Double?
    private(set) var notBefore: Double?
    private(set) var scopes: Set<String> = []

    /// What the signature is of.
    let signed: [UInt8]
    let signature: [UInt8]

    /// Longer ones fit no header that a proxy would pass on.
    static let maximumLength = 16 * 1024

    init(_ text: some StringProtocol) throws(Invalid) {
        let bytes = Array(text.utf8.prefix(Self.maximumLength + 1))
        guard bytes.count <= Self.maximumLength else { throw Invalid("The token is too long") }
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let signature = Base64.decodeFromURL(parts[2]) else {
            throw Invalid("The token is neither the server's own nor a signed JWT")
        }
        self.signature = signature
        signed = Array(bytes[..<parts[1].endIndex])
        try readHeader(Self.object(parts[0]))
        try readClaims(Self.object(parts[1]))
    }

    private static func object(_ part: ArraySlice<UInt8>) throws(Invalid) -> JSONObject {
        guard let bytes = Base64.decodeFromURL(part), let object = try? JSON.parse(bytes).objectValue else {
            throw Invalid("The token is not a JWT: a part of it is not a JSON object in base64url")
        }
        return object
    }

    private mutating func readHeader(_ header: JSONObject) throws(Invalid) {
        guard let algorithm = header["alg"]?.stringValue else { throw Invalid("The token names no algorithm") }
        self.algorithm = algorithm
        keyID = header["kid"]?.stringValue
        // Other types are not meant as access tokens, whoever signed them (RFC 8725, section 3.11).
        if let type = header["typ"] {
            let name = type.stringValue?.lowercased() ?? ""
            guard ["at+jwt", "application/at+jwt", "jwt"].contains(name) else {
                throw Invalid("The token's type is not that of an access token")
            }
        }
        // Whoever does not know a critical extension must refuse the token (RFC 7515, section 4.1.11).
        guard header["crit"] == nil else { throw Invalid("The token has critical extensions, and none are known here") }
    }

    private mutating func readClaims(_ claims: JSONObject) throws(Invalid) {
        issuer = claims["iss"]?.stringValue
        subject = claims["sub"]?.stringValue
        switch claims["aud"] {
        case .string(let audience): audiences = [audience]
        case .array(let several): audiences = several.compactMap(\.stringValue)
        default: break
        }
        expiry = try Self.date("exp", claims)
        notBefore = try Self.date("nbf", claims)
        scopes = Self.scopes(claims["scope"] ?? claims["scp"])
    }

    private static func date(_ name: String, _ claims: JSONObject) throws(Invalid) -> Double? {
        guard let value = claims[name] else { return nil }
        guard let seconds = value.doubleValue, seconds.isFinite else {
            throw Invalid("The token's \(name) is not a date")
        }
        return seconds
    }

    /// Words in a string (RFC 8693, section 4.2), or, as some issuers write them, an array.
    private static func scopes(_ claim: JSON?) -> Set<String> {
        switch claim {
        case .string(let words): Set(words.split(separator: " ").map(String.init))
        case .array(let words): Set(words.compactMap(\.stringValue))
        default: []
        }
    }
}
