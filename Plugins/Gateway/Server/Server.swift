import KnapJSON

/// Where a request came from: its envelope, the way to the plugins, and the way back for what precedes the answer.
package struct Exchange: Sendable {
    package var envelope: Envelope
    package var backend: any Backend
    /// Nil in the stateless era, and for clients of the handshake era that keep none.
    package var session: Session?
    /// The lists as the client knows them from another generation, where the request goes on from there.
    package var known: ListDigests?
    /// Sends what belongs to the request; waits while the client does not read.
    package var send: @Sendable (ServerMessage) async -> Void

    package init(
        envelope: Envelope, backend: any Backend, session: Session?, known: ListDigests? = nil,
        send: @escaping @Sendable (ServerMessage) async -> Void
    ) {
        self.envelope = envelope
        self.backend = backend
        self.session = session
        self.known = known
        self.send = send
    }
}

/// Answers MCP requests, whatever the transport. It keeps nothing between two requests but the catalog and the tasks.
package struct Server: Sendable {
    package let catalog: LiveCatalog
    package let identity: ServerIdentity
    package let seal: Seal
    package let tasks: TaskStore

    package init(catalog: LiveCatalog, identity: ServerIdentity, seal: Seal, tasks: TaskStore) {
        self.catalog = catalog
        self.identity = identity
        self.seal = seal
        self.tasks = tasks
    }

    /// The answer to a request whose envelope has been read. Cancelling the task cancels what it does.
    package func answer(_ request: Request, in exchange: Exchange) async -> Response {
        do {
            let result = try await result(of: request, in: exchange)
            return Response(id: request.id, .success(result))
        } catch {
            return Response(id: request.id, .failure(error))
        }
    }

    private func result(of request: Request, in exchange: Exchange) async throws(RPCError) -> JSONObject {
        let envelope = exchange.envelope
        guard let method = RequestMethod(rawValue: request.method),
            envelope.isModern ? method.isModern : method.isLegacy
        else { throw .methodNotFound(request.method) }
        let result = try await result(of: method, request, exchange)
        return envelope.shape(result, cache: method.cachePolicy, by: identity)
    }

    private func result(
        of method: RequestMethod, _ request: Request, _ exchange: Exchange
    ) async throws(RPCError) -> JSONObject {
        switch method {
        case .initialize: return initialize(request, exchange)
        case .ping: return [:]
        case .setLogLevel: return try setLogLevel(request, exchange)
        case .subscribe: return try await subscribe(request, exchange)
        case .unsubscribe: return try unsubscribe(request, exchange)
        case .discover: return discover()
        case .listen: return try await listen(request, exchange)
        case .listTools: return try await listTools(request, exchange)
        case .callTool: return try await callTool(request, exchange)
        case .listResources: return try await listResources(request, exchange)
        case .listResourceTemplates: return try await listTemplates(request, exchange)
        case .readResource: return try await readResource(request, exchange)
        case .listPrompts: return try await listPrompts(request, exchange)
        case .getPrompt: return try await getPrompt(request, exchange)
        case .complete: return try await complete(request, exchange)
        case .getTask: return try await getTask(request, exchange)
        case .updateTask: return try await updateTask(request, exchange)
        case .cancelTask: return try await cancelTask(request, exchange)
        }
    }
}

extension RequestMethod {
    /// For the results that 2026-07-28 lets clients keep; nil for the others.
    var cachePolicy: CachePolicy? {
        switch self {
        case .discover, .listTools, .listResources, .listResourceTemplates, .listPrompts: .list
        case .readResource: .never
        default: nil
        }
    }
}

// MARK: - Who is there

extension Server {
    /// Everything is always offered, if only as an empty list: plugins come and go, and what a client was told at the
    /// start holds for as long as it stays.
    private func capabilities(isModern: Bool) -> JSON {
        var capabilities: JSONObject = [
            "tools": ["listChanged": true], "resources": ["subscribe": true, "listChanged": true],
            "prompts": ["listChanged": true], "completions": [:], "logging": [:],
        ]
        if isModern { capabilities["extensions"] = .object([ClientCapabilities.tasks: [:]]) }
        return .object(capabilities)
    }

    private func initialize(_ request: Request, _ exchange: Exchange) -> JSONObject {
        let revision = Revision.negotiated(asked: request.params["protocolVersion"]?.stringValue)
        let capabilities = ClientCapabilities(request.params["capabilities"]?.objectValue ?? JSONObject())
        let client = ClientIdentity(capabilities: capabilities, info: request.params["clientInfo"])
        exchange.session?.negotiated(revision, client)
        return [
            "protocolVersion": .string(revision.rawValue),
            "capabilities": self.capabilities(isModern: false),
            "serverInfo": [
                "name": .string(identity.name), "title": .string(identity.title), "version": .string(identity.version),
            ],
            "instructions": .string(Self.instructions),
        ]
    }

    private func setLogLevel(_ request: Request, _ exchange: Exchange) throws(RPCError) -> JSONObject {
        guard let level = LogLevel(rawValue: try request.string("level")) else {
            throw .parameter("level", "must be one of \(LogLevel.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        exchange.session?.setLogLevel(level)
        return [:]
    }

    private func discover() -> JSONObject {
        [
            "supportedVersions": [.string(Revision.modern.rawValue)],
            "capabilities": capabilities(isModern: true),
            "instructions": .string(Self.instructions),
        ]
    }

    static let instructions = """
        Knap serves the tools of its plugins. The list shows the common ones. When none of them fits the task, call \
        find_tools with a few words on what you need, before you give up or work around it; then call what it finds \
        with use_tool. Results of long lists have limit and offset: ask for the next part rather than for everything.
        """
}
