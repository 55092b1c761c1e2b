import HTTPTypes
import KnapJSON

/// Everything over HTTP that is not MCP: the tools at `/tools`, plugins' routes, and `/openapi.json`, which describes
/// both.
struct RESTEndpoint: Sendable {
    static let documentPath = "/openapi.json"
    private static let maximumBody = LineFramer.defaultLimit

    private let server: Server
    private let routes: LiveRoutes
    private let streams: OpenStreams
    private let tools: ToolAddresses
    private let heartbeat = Heartbeat()

    init(server: Server, routes: LiveRoutes, streams: OpenStreams) {
        self.server = server
        self.routes = routes
        self.streams = streams
        tools = ToolAddresses(server: server)
    }

    func respond(to exchange: HTTPExchange, from backend: any Backend) async {
        do throws(ProblemDetails) {
            switch try await outcome(of: exchange, backend) {
            case .answer(let answer): exchange.send(answer)
            case .stream(let stream): await stream.respond(to: exchange, from: backend)
            case .nobody: break
            }
        } catch {
            exchange.send(error.answer)
        }
    }

    private enum Outcome: Sendable {
        case answer(Answer)
        case stream(MethodStream)
        /// The client has left.
        case nobody
    }

    /// What a request asks for: answered at once, or done once its body is there.
    private enum Step: Sendable {
        case answer(Answer)
        case action(@Sendable ([UInt8]) async throws(ProblemDetails) -> Outcome)
    }

    private func outcome(
        of exchange: HTTPExchange, _ backend: any Backend
    ) async throws(ProblemDetails) -> Outcome {
        switch try await step(for: exchange, backend) {
        case .answer(let answer): return .answer(answer)
        case .action(let action):
            switch await exchange.body(upTo: Self.maximumBody) {
            case .whole(let body) where exchange.reserve(JSON.approximateMemory(of: body)): return try await action(body)
            case .whole, .busy: return .answer(Answer.busy.asProblem)
            case .tooLarge: throw ProblemDetails(status: 413, "The body is larger than \(Self.maximumBody) bytes.")
            case .gone: return .nobody
            }
        }
    }

    // MARK: - What is at an address

    private func step(
        for exchange: HTTPExchange, _ backend: any Backend
    ) async throws(ProblemDetails) -> Step {
        let request = exchange.request
        guard let path = PathSegments(exchange.path) else {
            throw .badRequest("The path must begin with / and be percent-encoded UTF-8.")
        }
        switch path.segments {
        case ["openapi.json"]:
            return try await readable(request) {
                await backend.settled()
                return OpenAPIDocument(server.catalog.current, routes.current, server.identity).answer(to: request)
            }
        case ["tools"]:
            return try await readable(request) {
                await backend.settled()
                return .json(tools.list(), fields: [(.cacheControl, "no-store")])
            }
        case let segments where segments.count == 2 && segments[0] == "tools":
            return try await tool(segments[1], exchange, backend)
        default:
            return try await route(path, exchange, backend)
        }
    }

    /// Something of the Gateway's own that can only be read.
    private func readable(
        _ request: HTTPRequest, _ read: () async -> Answer
    ) async throws(ProblemDetails) -> Step {
        if let answer = try Self.answer(request.method, allowing: [.get, .head]) { return .answer(answer) }
        return .answer(await read())
    }

    /// The answer that needs nothing but the methods of an address; nil for one of these methods.
    private static func answer(
        _ method: HTTPRequest.Method, allowing methods: [HTTPRequest.Method]
    ) throws(ProblemDetails) -> Answer? {
        let methods = methods + [.options]
        guard methods.contains(method) else { throw .notAllowed(methods) }
        guard method == .options else { return nil }
        return Answer(status: 204, fields: [(.allow, methods.map(\.rawValue).joined(separator: ", "))])
    }

    private func tool(
        _ name: String, _ exchange: HTTPExchange, _ backend: any Backend
    ) async throws(ProblemDetails) -> Step {
        let request = exchange.request
        let tool = try await tools.tool(name, backend)
        if let answer = try Self.answer(request.method, allowing: [.get, .head, .post]) { return .answer(answer) }
        try Self.demand(.tool(tool), of: backend.caller)
        guard request.method == .post else {
            return .answer(.json(tools.description(of: tool), fields: [(.cacheControl, "no-store")]))
        }
        guard (exchange.query ?? "").isEmpty else {
            throw .badRequest("The arguments of a tool go into the body, not behind a question mark.")
        }
        let exchange = Exchange(
            envelope: Envelope(revision: .modern, trace: Self.trace(request)), backend: backend, session: nil
        ) { _ in }
        let contentType = request.headerFields[.contentType]
        return .action { [tools] body throws(ProblemDetails) in
            let body = try JSONBody.check(contentType, is: .json, body)
            return .answer(try await tools.call(tool, JSONBody.parse(body), in: exchange))
        }
    }

    private static func demand(_ use: Use, of caller: Caller) throws(ProblemDetails) {
        do throws(RPCError) {
            try caller.demand(use)
        } catch {
            throw .forbidden(error)
        }
    }

    private func route(
        _ path: PathSegments, _ exchange: HTTPExchange, _ backend: any Backend
    ) async throws(ProblemDetails) -> Step {
        let request = exchange.request
        var matches = routes.current.match(path)
        if matches.isEmpty {
            await backend.settled()
            matches = routes.current.match(path)
        }
        guard !matches.isEmpty else {
            throw .notFound(
                "There is nothing at \(exchange.path.prefix(200)); \(Self.documentPath) describes what there is.")
        }
        try Self.demand(.routes, of: backend.caller)
        let methods = Self.methods(of: matches)
        if let answer = try Self.answer(request.method, allowing: methods) { return .answer(answer) }
        let verb = request.method == .head ? Route.Verb.get : Route.Verb(rawValue: request.method.rawValue)
        guard let match = matches.first(where: { $0.route.verb == verb }) else {
            throw .notAllowed(methods + [.options])
        }
        let input = RouteInput(route: match.route, variables: match.variables)
        let (query, contentType, trace) = (exchange.query, request.headerFields[.contentType], Self.trace(request))
        return .action { [heartbeat, streams] body throws(ProblemDetails) in
            let route = match.route
            let call = try input.call(query: query, contentType: contentType, body: body, trace: trace)
            if route.streams {
                return .stream(MethodStream(call: call, type: route.outputType, heartbeat: heartbeat, open: streams))
            }
            let reply: BackendReply
            do throws(CallFailure) {
                reply = try await backend.call(call) { _ in }
            } catch {
                throw ProblemDetails(error)
            }
            return .answer(try MethodAnswer.read(reply, of: route.method, declared: route.outputType))
        }
    }

    /// In the order of the verbs; who can be got can also be asked for its head (RFC 9110, section 9.3.2).
    private static func methods(of matches: [RouteMatch]) -> [HTTPRequest.Method] {
        let verbs = Set(matches.map(\.route.verb))
        return Route.Verb.allCases.filter(verbs.contains).flatMap { verb -> [HTTPRequest.Method] in
            verb == .get ? [.get, .head] : HTTPRequest.Method(verb.rawValue).map { [$0] } ?? []
        }
    }

    private static func trace(_ request: HTTPRequest) -> String? {
        TraceParent.valid(request.headerFields[values: .traceParent])
    }
}

extension HTTPField.Name {
    // The name is a constant with only the characters that a field's name may have.
    fileprivate static let traceParent = HTTPField.Name("traceparent").unsafelyUnwrapped
}
