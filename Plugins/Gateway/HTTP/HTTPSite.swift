import HTTPTypes
import HummingbirdCore
import KnapJSON

/// The addresses that are served: `/mcp`, `/health` and the page at `/`.
package struct HTTPSite: Sendable {
    private let access: HTTPAccess
    private let endpoint: MCPEndpoint
    private let server: Server
    private let backend: any Backend
    private let page: @Sendable () async -> StatusReport.Contents

    package init(
        server: Server, sessions: SessionStore, access: HTTPAccess, backend: any Backend,
        page: @escaping @Sendable () async -> StatusReport.Contents
    ) {
        self.access = access
        self.server = server
        self.page = page
        self.backend = backend
        endpoint = MCPEndpoint(server: server, sessions: sessions)
    }

    /// Gives up what is still at work when the server goes.
    func giveUp() { endpoint.giveUp() }

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
        case let path:
            try await Answer.text("There is nothing at \(path.prefix(200)).", status: 404).send(writer)
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
        request.method == .get ? .json(["status": "ok"]) : .notAllowed("GET")
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
            page(), catalog: server.feed.current, base: "http://\(request.head.authority ?? "")")
        return Answer(
            status: 200, type: "text/html; charset=utf-8", body: Array(html.utf8),
            fields: [
                (.cacheControl, "no-store"), (.referrerPolicy, "no-referrer"),
                (.contentSecurityPolicy, "default-src 'none'; style-src 'unsafe-inline'"),
                (.xContentTypeOptions, "nosniff"),
            ])
    }
}
