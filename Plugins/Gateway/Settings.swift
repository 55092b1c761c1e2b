import Glibc
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
    /// Origins besides the server's own, such as `https://app.example`.
    var allowedOrigins: [String]
    var listBudgetBytes: Int
    /// Whether tools whose schemas some clients refuse are left out.
    var strictSchemas: Bool

    private enum CodingKeys: String, CodingKey {
        case http, host, port, token
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
        allowedOrigins = try values.decodeIfPresent([String].self, forKey: .allowedOrigins) ?? []
        listBudgetBytes = try values.decodeIfPresent(Int.self, forKey: .listBudgetBytes) ?? 24 * 1024
        strictSchemas = try values.decodeIfPresent(Bool.self, forKey: .strictSchemas) ?? true
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
        let made = randomToken()
        try StateFile.write(made + "\n", to: path, mode: 0o600)
        return made
    }

    /// 256 bits from the kernel, in hexadecimal.
    private static func randomToken() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<4).map { _ in
            let digits = String(generator.next(), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
