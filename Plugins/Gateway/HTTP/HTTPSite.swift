import HTTPTypes
import HummingbirdCore
import KnapJSON

/// The addresses that are served: `/mcp`, `/health`, the page at `/`, and what REST has.
package struct HTTPSite: Sendable {
    private let access: HTTPAccess
    private let endpoint: MCPEndpoint
    private let rest: RESTEndpoint
    private let server: Server
    private let backend: any Backend
    private let page: @Sendable () async -> StatusReport.Contents
    private let routes: RouteFeed

    package init(
        server: Server, sessions: SessionStore, access: HTTPAccess, backend: any Backend,
        routes: RouteFeed = RouteFeed(), streams: OpenStreams = OpenStreams(),
        page: @escaping @Sendable () async -> StatusReport.Contents
    ) {
        self.access = access
        self.server = server
        self.page = page
        self.backend = backend
        self.routes = routes
        endpoint = MCPEndpoint(server: server, sessions: sessions)
        rest = RESTEndpoint(server: server, routes: routes, streams: streams)
    }

    func respond(to request: HummingbirdCore.Request, _ writer: consuming ResponseWriter) async throws {
        if let refusal = access.refusal(of: request.head) { return try await Self.refused(refusal).send(writer) }
        switch request.uri.path {
        case "/mcp":
            guard access.hasToken(request.head) else { return try await Self.refused(.noToken).send(writer) }
            try await endpoint.respond(to: request, from: backend, writer)
        case "/health":
            try await health(request).send(writer)
        case "/":
            try await home(request).send(writer)
        // What clients look for before they have a token.
        case let path where path.hasPrefix("/.well-known/"):
            try await Answer.text("There is nothing at \(path.prefix(200)).", status: 404).send(writer)
        case let path:
            // The page links to the document, so its cookie is good for that.
            let isLinked = path == RESTEndpoint.documentPath && request.method == .get
            guard access.hasToken(request.head, acceptingCookie: isLinked) else {
                return try await Self.refused(.noToken).asProblem.send(writer)
            }
            try await rest.respond(to: request, from: backend, writer)
        }
    }

    private static func refused(_ refusal: HTTPAccess.Refusal) -> Answer {
        switch refusal {
        case .foreignHost: .text("This server answers to its own name only, such as localhost.", status: 403)
        case .foreignOrigin:
            .text("This Origin is not allowed. The setting allowed_origins names those that are.", status: 403)
        case .noToken: .text("A token is needed.", status: 401, fields: [(.wwwAuthenticate, "Bearer")])
        }
    }

    private func health(_ request: HummingbirdCore.Request) -> Answer {
        guard [.get, .head].contains(request.method) else { return Answer.notAllowed("GET, HEAD").asProblem }
        var answer = Answer.json(["status": "ok"])
        answer.isHeadOnly = request.method == .head
        return answer
    }

    /// The page. A token in the address becomes a cookie and leaves the address, where it would stay in histories.
    private func home(_ request: HummingbirdCore.Request) async -> Answer {
        guard request.method == .get else { return .notAllowed("GET") }
        if let token = request.uri.queryParameters["token"], access.matches(String(token)) {
            let cookie = "\(HTTPAccess.cookie)=\(token); Path=/; HttpOnly; SameSite=Strict"
            return Answer(status: 303, fields: [(.setCookie, cookie), (.location, "/"), (.cacheControl, "no-store")])
        }
        guard access.hasToken(request.head, acceptingCookie: true) else { return Self.refused(.noToken) }
        let html = await StatusPage.render(
            page(), catalog: server.feed.current, routes: routes.current,
            base: "http://\(request.head.authority ?? "")")
        return Answer(
            status: 200, type: "text/html; charset=utf-8", body: Array(html.utf8),
            fields: [
                (.cacheControl, "no-store"), (.referrerPolicy, "no-referrer"),
                (.contentSecurityPolicy, "default-src 'none'; style-src 'unsafe-inline'"),
                (.xContentTypeOptions, "nosniff"),
            ])
    }
}
