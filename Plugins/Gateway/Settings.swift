import Glibc
import KnapJSON
import KnapPlugin

/// The Gateway's configuration, as its manifest describes it.
struct Settings: Decodable {
    /// Whether to listen for HTTP at all.
    var http: Bool
    var host: String
    /// 0 for any free one.
    var port: Int
    /// Nil: the one in the state directory, made at the first start.
    var token: String?
    /// More tokens, by the names of those who have them.
    var tokens: [String: String]
    /// Origins besides the server's own, such as `https://app.example`.
    var allowedOrigins: [String]
    var listBudgetBytes: Int
    /// Whether tools whose schemas some clients refuse are left out.
    var strictSchemas: Bool
    /// The origin that clients see, where a proxy is in front.
    var publicURL: String?
    var tls: TLS?
    var oauth: OAuth?

    /// Paths of PEM files.
    struct TLS: Decodable {
        var certificate: String
        var key: String
    }

    /// Whose access tokens are taken, and for what.
    struct OAuth: Decodable {
        var issuer: String
        /// Nil: the address that the server is reached at.
        var audience: String?
        /// Nil: what the issuer's metadata says.
        var jwksURI: String?
        /// Nil: ``ScopePolicy/standard``.
        var scopes: JSON?
        /// Nil: it is.
        var acceptsStaticToken: Bool?

        private enum CodingKeys: String, CodingKey {
            case issuer, audience, scopes
            case jwksURI = "jwks_uri"
            case acceptsStaticToken = "static_token"
        }
    }

    private enum CodingKeys: String, CodingKey {
        case http, host, port, token, tokens, tls, oauth
        case publicURL = "public_url"
        case allowedOrigins = "allowed_origins"
        case listBudgetBytes = "list_budget_bytes"
        case strictSchemas = "strict_schemas"
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        http = try values.decodeIfPresent(Bool.self, forKey: .http) ?? true
        host = try values.decodeIfPresent(String.self, forKey: .host) ?? "127.0.0.1"
        port = try values.decodeIfPresent(Int.self, forKey: .port) ?? 7420
        token = try values.decodeIfPresent(String.self, forKey: .token)
        tokens = try values.decodeIfPresent([String: String].self, forKey: .tokens) ?? [:]
        allowedOrigins = try values.decodeIfPresent([String].self, forKey: .allowedOrigins) ?? []
        listBudgetBytes = try values.decodeIfPresent(Int.self, forKey: .listBudgetBytes) ?? 24 * 1024
        strictSchemas = try values.decodeIfPresent(Bool.self, forKey: .strictSchemas) ?? true
        tls = try values.decodeIfPresent(TLS.self, forKey: .tls)
        oauth = try values.decodeIfPresent(OAuth.self, forKey: .oauth)
        publicURL = try values.decodeIfPresent(String.self, forKey: .publicURL).map {
            ($0.hasSuffix("/") ? String($0.dropLast()) : $0).lowercased()
        }
    }

    /// The names that the server answers to besides the loopback's: its address, and what a proxy calls it.
    var ownHosts: [String] {
        let authority = publicURL?.split(separator: "/").last.map { HTTPAccess.name(ofAuthority: String($0)) }
        return (host == "0.0.0.0" ? [] : [host]) + (authority.map { [$0] } ?? [])
    }

    /// Whether tokens and notes could be read on their way.
    var isExposed: Bool {
        !host.hasPrefix("127.") && tls == nil && !(publicURL?.hasPrefix("https:") ?? false)
    }

    /// The configured token, else `KNAP_TOKEN`, else the state directory's, which is made where there is none.
    func accessToken(stateDirectory: String) throws(StateFile.Failure) -> String {
        if let token, !token.isEmpty { return token }
        if let value = getenv("KNAP_TOKEN"), value.pointee != 0 { return String(cString: value) }
        return try Self.kept(stateDirectory + "/token")
    }

    /// The key that signs what clients keep, made at the first start.
    static func sealKey(stateDirectory: String) throws(StateFile.Failure) -> [UInt8] {
        Array(try kept(stateDirectory + "/seal.key").utf8)
    }

    /// The secret in a file, which is made where there is none.
    private static func kept(_ path: String) throws(StateFile.Failure) -> String {
        if let kept = StateFile.read(path), !kept.isEmpty { return kept }
        let made = randomText(bits: 256)
        try StateFile.write(made + "\n", to: path, mode: 0o600)
        return made
    }
}
