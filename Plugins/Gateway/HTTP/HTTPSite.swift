import HTTPTypes
import KnapJSON

/// The addresses that are served: `/mcp` and its metadata for OAuth clients, `/health`, the page at `/`, and what REST
/// has.
package struct HTTPSite: Sendable {
    private let access: HTTPAccess
    private let authorizer: Authorizer
    private let publicURL: String?
    /// Known once it is served.
    private var address = ServerAddress(scheme: "http", port: 0, publicURL: nil, names: [])
    private let endpoint: MCPEndpoint
    private let rest: RESTEndpoint
    private let server: Server
    private let backend: @Sendable (Caller) -> any Backend
    private let page: @Sendable () async -> StatusReport.Contents
    private let routes: LiveRoutes

    /// - Parameters:
    ///   - oauth: Nil where only the static token is taken.
    ///   - publicURL: The origin that clients see, where a proxy is in front.
    ///   - backend: The way to the plugins on somebody's behalf.
    package init(
        server: Server, sessions: SessionStore, access: HTTPAccess, oauth: OAuth? = nil, publicURL: String? = nil,
        backend: @escaping @Sendable (Caller) -> any Backend,
        routes: LiveRoutes = LiveRoutes(), streams: OpenStreams = OpenStreams(),
        page: @escaping @Sendable () async -> StatusReport.Contents
    ) {
        self.access = access
        self.publicURL = publicURL
        authorizer = Authorizer(access: access, oauth: oauth)
        self.server = server
        self.page = page
        self.backend = backend
        self.routes = routes
        endpoint = MCPEndpoint(server: server, sessions: sessions)
        rest = RESTEndpoint(server: server, routes: routes, streams: streams)
    }

    /// The same, at the address that it is served at.
    func served(by scheme: String, port: Int) -> HTTPSite {
        var site = self
        site.address = ServerAddress(scheme: scheme, port: port, publicURL: publicURL, names: access.allowedHosts)
        return site
    }

    func respond(to exchange: HTTPExchange) async {
        let request = exchange.request
        if let refusal = access.refusal(of: request) { return exchange.send(Self.refused(refusal)) }
        switch exchange.path {
        case "/mcp":
            switch await authorizer.admit(request, at: address) {
            case .caller(let caller): await endpoint.respond(to: exchange, from: backend(caller))
            case .refused(let answer): exchange.send(answer)
            }
        case ServerAddress.metadataPath, ServerAddress.metadataPath + "/mcp":
            exchange.send(metadata(exchange))
        case "/health":
            exchange.send(health(request))
        case "/":
            exchange.send(await home(exchange))
        // What clients look for before they have a token.
        case let path where path.hasPrefix("/.well-known/"):
            exchange.send(Self.nothing(at: path))
        case let path:
            // The page links to the document, so its cookie is good for that.
            let isLinked = path == RESTEndpoint.documentPath && request.method == .get
            if isLinked, access.hasToken(request, acceptingCookie: true) {
                return await rest.respond(to: exchange, from: backend(Authorizer.tokenHolder))
            }
            switch await authorizer.admit(request, at: address) {
            case .caller(let caller): await rest.respond(to: exchange, from: backend(caller))
            case .refused(let answer): exchange.send(answer.asProblem)
            }
        }
    }

    /// The server goes: what nobody waits for is given up.
    func giveUp() { endpoint.giveUp() }

    private static func refused(_ refusal: HTTPAccess.Refusal) -> Answer {
        switch refusal {
        case .foreignHost: .text("This server answers to its own name only, such as localhost.", status: 403)
        case .foreignOrigin:
            .text("This Origin is not allowed. The setting allowed_origins names those that are.", status: 403)
        }
    }

    private static func nothing(at path: String) -> Answer {
        .text("There is nothing at \(path.prefix(200)).", status: 404)
    }

    private func metadata(_ exchange: HTTPExchange) -> Answer {
        guard let metadata = authorizer.metadata(of: exchange.request, at: address) else {
            return Self.nothing(at: exchange.path)
        }
        return exchange.request.method == .get ? .json(metadata, fields: [(.cacheControl, "no-store")]) : .notAllowed("GET")
    }

    private func health(_ request: HTTPRequest) -> Answer {
        guard [.get, .head].contains(request.method) else { return Answer.notAllowed("GET, HEAD").asProblem }
        return .json(["status": "ok"])
    }

    /// The page. A token in the address becomes a cookie and leaves the address, where it would stay in histories.
    private func home(_ exchange: HTTPExchange) async -> Answer {
        let request = exchange.request
        guard request.method == .get else { return .notAllowed("GET") }
        let tokens = (try? QueryParameters(exchange.query))?.values.first { $0.name == "token" }?.texts
        if let token = tokens?.first, access.matches(token) {
            let secure = address.scheme == "https" ? "; Secure" : ""
            let cookie = "\(HTTPAccess.cookie)=\(token); Path=/; HttpOnly; SameSite=Strict\(secure)"
            return Answer(status: 303, fields: [(.setCookie, cookie), (.location, "/"), (.cacheControl, "no-store")])
        }
        guard access.hasToken(request, acceptingCookie: true) else {
            return .text("A token is needed.", status: 401, fields: [(.wwwAuthenticate, Challenge().header)])
        }
        let html = await StatusPage.render(
            page(), catalog: server.catalog.current, routes: routes.current, base: address.page(for: request))
        return Answer(
            status: 200, type: "text/html; charset=utf-8", body: Array(html.utf8),
            fields: [
                (.cacheControl, "no-store"), (.referrerPolicy, "no-referrer"),
                (.contentSecurityPolicy, "default-src 'none'; style-src 'unsafe-inline'"),
                (.xContentTypeOptions, "nosniff"),
            ])
    }
}
