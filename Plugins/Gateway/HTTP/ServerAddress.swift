import HTTPTypes

/// How clients reach the server, which is also what it is called as a protected resource (RFC 9728, section 1.2).
struct ServerAddress: Sendable {
    let scheme: String
    private let port: Int
    /// Where a proxy is in front: what clients see of it.
    private let publicURL: String?
    /// Everything that is this server: a token for one of them is for it.
    let resources: Set<String>

    static let metadataPath = "/.well-known/oauth-protected-resource"

    /// - Parameter names: What the server answers to.
    init(scheme: String, port: Int, publicURL: String?, names: Set<String>) {
        self.scheme = scheme
        self.port = port
        self.publicURL = publicURL
        let bases = publicURL.map { [$0] } ?? names.map { Self.base(scheme, $0, port) }
        resources = Set(bases.map { $0 + "/mcp" })
    }

    func resource(for request: HTTPRequest) -> String { base(for: request) + "/mcp" }

    func metadataURL(for request: HTTPRequest) -> String { base(for: request) + Self.metadataPath + "/mcp" }

    /// Where a person finds it, who may come through a port that is forwarded.
    func page(for request: HTTPRequest) -> String { publicURL ?? "\(scheme)://\(request.authority ?? "")" }

    /// By the name that the client used, which is one of the server's own, and always the port that it listens on: else
    /// a token for another server on this machine could be passed off as one for this.
    private func base(for request: HTTPRequest) -> String {
        publicURL ?? Self.base(scheme, HTTPAccess.name(ofAuthority: request.authority ?? ""), port)
    }

    private static func base(_ scheme: String, _ name: String, _ port: Int) -> String {
        let isDefault = scheme == "https" ? port == 443 : port == 80
        return "\(scheme)://\(name)" + (isDefault ? "" : ":\(port)")
    }
}
