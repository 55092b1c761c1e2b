import KnapJSON
import KnapPlugin
import Synchronization

/// MCP for everything that plugins contribute, over stdio by the service `mcp` and over HTTP, and REST beside it.
///
/// It requires no plugin, so that the first answer waits for nobody; what there is to serve comes through the registry.
public final class GatewayPlugin: Plugin, Draining {
    public static let name = "gateway", version = "0.1.0"

    public static let methods: [KnapPlugin.Method<GatewayPlugin>] = [
        .stream("mcp.connect", connect),
        .call("gateway.status", status),
        .call("gateway.problems", problems),
    ]

    /// What `activate` makes and `suspend` takes back.
    private struct Running {
        var startup: Startup
        var feeds: PluginFeeds
        /// What follows the registry and the time.
        var reading: [Task<Void, Never>]
        var listening: Task<Void, Never>
    }

    private let host: PluginHost
    private let settings: Settings
    private let server: Server
    private let routes = LiveRoutes()
    private let streams = OpenStreams()
    private let httpSessions: SessionStore
    private let listener: HTTPListener
    private let running = Mutex<Running?>(nil)
    private let sessions = Mutex<[ObjectIdentifier: StdioSession]>([:])

    public init(host: PluginHost) throws {
        self.host = host
        settings = try host.configuration()
        let identity = ServerIdentity(name: "knap", title: "Knap", version: Self.version)
        let catalog = LiveCatalog(
            budget: ListBudget(whole: settings.listBudgetBytes), lint: SchemaLint(isStrict: settings.strictSchemas))
        let state = try host.stateDirectory
        server = Server(
            catalog: catalog, identity: identity, seal: Seal(key: Self.sealKey(in: state, host)),
            tasks: TaskStore(catalog: catalog, files: TaskFolder(path: state + "/tasks")))
        httpSessions = SessionStore(server: server, endedFile: state + "/ended-sessions.json")
        listener = HTTPListener()
    }

    public func activate(_ hook: Call) async throws {
        // What feeds say is the plugins' own: no client is behind the call.
        let ownBackend = HostBackend(host: host, startup: nil, parent: nil, caller: Caller(principal: ""))
        let feeds = PluginFeeds(catalog: server.catalog, backend: ownBackend) { [host] in
            try await host.timers.sleep(for: $0)
        }
        let startup = Startup(host: host, feeds: feeds, catalog: server.catalog)
        // They were closed where an instance goes on because what was to replace it failed.
        server.catalog.open()
        streams.open()
        await server.tasks.load()
        await httpSessions.ended.load()
        // Before the first request: after a reload clients go on with tools that they know.
        let present = try host.registry.snapshot(of: "mcp").contributions
        if !present.isEmpty { server.catalog.publish(present.map(Offer.init)) }
        feeds.follow(server.catalog.current.feeds)
        routes.publish(try host.registry.snapshot(of: "http").contributions.map(Offer.init))
        let reading = Task { [host, server] in
            for await snapshot in host.registry.snapshots(of: "mcp") {
                server.catalog.publish(snapshot.contributions.map(Offer.init))
                feeds.follow(server.catalog.current.feeds)
            }
        }
        let routing = Task { [host, routes] in
            for await snapshot in host.registry.snapshots(of: "http") {
                routes.publish(snapshot.contributions.map(Offer.init))
            }
        }
        let settling = Task { [server] in if server.catalog.settled == nil { await startup.settled() } }
        let dropping = Task { [host, httpSessions] in
            while (try? await host.timers.sleep(for: .seconds(60 * 60))) != nil { httpSessions.dropIdle() }
        }
        // In the background: a port that is taken, or slow to bind, must not keep stdio from serving.
        let listening = Task { [self] in await listen(startup) }
        running.withLock {
            $0 = Running(
                startup: startup, feeds: feeds, reading: [reading, routing, settling, dropping], listening: listening)
        }
    }

    public func suspend(_ hook: Call) async throws {
        let running = running.withLock { running in
            defer { running = nil }
            return running
        }
        for reading in running?.reading ?? [] { reading.cancel() }
        running?.listening.cancel()
        running?.feeds.close()
        // What listens only later could not be stopped.
        await running?.listening.value
        await listener.stopAccepting()
        server.catalog.close()
        streams.close()
        async let tasks: Void = server.tasks.stop(after: Self.patience)
        await listener.stop()
        httpSessions.giveUp()
        await httpSessions.ended.written()
        await tasks
    }

    /// Where the key cannot be kept, as on a full disk, what is signed is good until the next start.
    private static func sealKey(in stateDirectory: String, _ host: PluginHost) -> [UInt8] {
        do throws(StateFile.Failure) {
            return try Settings.sealKey(stateDirectory: stateDirectory)
        } catch {
            host.log.warn("HTTP sessions will not outlive this start", ["reason": error])
            return Array(randomText(bits: 256).utf8)
        }
    }

    /// How long work under way may go on once the Gateway is to end; less than the hook may take.
    private static let patience = Duration.seconds(8)

    private func listen(_ startup: Startup) async {
        guard settings.http else { return }
        do {
            let token = try settings.accessToken(stateDirectory: host.stateDirectory)
            let access = HTTPAccess(
                token: token, named: settings.tokens, allowedOrigins: settings.allowedOrigins, allowedHosts: settings.ownHosts)
            let backend: @Sendable (Caller) -> any Backend = { [host] caller in
                HostBackend(host: host, startup: startup, parent: nil, caller: caller)
            }
            let site = HTTPSite(
                server: server, sessions: httpSessions, access: access, oauth: try settings.oauth.map(oauth),
                publicURL: settings.publicURL, backend: backend, routes: routes, streams: streams,
                page: { await StatusReport(backend: backend(Authorizer.tokenHolder)).read() })
            let address = HTTPListener.Address(host: settings.host, port: settings.port)
            if settings.isExposed {
                host.log.warn("tokens and notes go over the network in the clear; set tls", ["host": settings.host])
            }
            let url = try await listener.start(
                site, at: address, sockets: HostSockets(host: host), certificate: try await certificate())
            host.log.info("listening", ["url": url])
        } catch {
            let reason = Self.reason(error)
            listener.failed(reason)
            host.log.error("HTTP is off; stdio goes on", ["reason": reason])
        }
    }
}

// MARK: - What the settings ask for

extension GatewayPlugin {
    private func oauth(_ settings: Settings.OAuth) throws -> OAuth {
        let issuer = try Issuer(settings.issuer, keysAddress: settings.jwksURI)
        let verifier = TokenVerifier(issuer: issuer) { [host] reason in
            host.log.warn("the keys of the issuer of access tokens cannot be read", ["reason": reason])
        }
        return OAuth(
            verifier: verifier, policy: settings.scopes?.objectValue.map(ScopePolicy.init) ?? .standard,
            audience: settings.audience, acceptsStaticToken: settings.acceptsStaticToken ?? true)
    }

    private func certificate() async throws -> ServerCertificate? {
        guard let tls = settings.tls else { return nil }
        return try await ServerCertificate(certificate: tls.certificate, key: tls.key) { [host] reason in
            host.log.error("the changed certificate is not used; the one before goes on", ["reason": reason])
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let failure as HTTPListener.Failure: failure.message
        case let issuer as Issuer.Unusable: issuer.message
        case let certificate as ServerCertificate.Unusable: certificate.message
        default: "\(error)"
        }
    }
}

// MARK: - What lasts over a reload

extension GatewayPlugin: Stateful {
    public static let stateSchema: UInt32 = 1

    /// The sessions of clients over HTTP; those on stdio carry their own.
    public func save() -> [UInt8] { Array(httpSessions.save().serialized().utf8) }

    public func load(_ state: [UInt8], schema: UInt32) throws {
        guard schema == 1 else { return }
        server.catalog.succeed()
        httpSessions.load(try JSON.parse(state))
    }
}

// MARK: - Methods

extension GatewayPlugin {
    /// One MCP client on the call's two streams.
    private func connect(_ input: [UInt8], _ call: DuplexCall) async throws -> Reply {
        guard let startup = running.withLock({ $0?.startup }) else {
            throw PluginError(code: .unavailable, message: "The gateway is stopping.")
        }
        let backend = HostBackend(host: host, startup: startup, parent: call, caller: Caller(principal: call.principal))
        let moved = (try? JSON.parse(input)).flatMap(MovedSession.init)
        let session = StdioSession(server: server, backend: backend, resuming: moved) { bytes in
            try await call.send(bytes)
        }
        if let moved { await session.resume(moved) }
        sessions.withLock { $0[ObjectIdentifier(session)] = session }
        defer { sessions.withLock { $0[ObjectIdentifier(session)] = nil } }
        guard let moved = try await session.run(call.items.bytes) else { return Reply() }
        return Reply(json: moved.json, contentType: MovedSession.contentType)
    }

    /// Clients on stdio go on at the next generation; those on HTTP are waited for by `suspend`.
    public func beginDrain(deadline: Deadline) {
        for session in sessions.withLock({ Array($0.values) }) { session.move() }
    }

    /// The sessions that moved come back by themselves.
    public func abandonDrain() {}

    /// What is served and where.
    private func status(_ input: Empty, _ call: Call) async throws -> JSON {
        // Where it listens is known once it has tried.
        await running.withLock { $0?.listening }?.value
        let catalog = server.catalog.current
        var status: JSONObject = ["http": listener.status]
        status["revisions"] = .array(Revision.allCases.map { .string($0.rawValue) })
        status["tools"] = .array(
            catalog.tools.map {
                ["name": .string($0.name), "plugin": .string($0.plugin), "listed": .bool($0.isListed)]
            })
        status["resources"] = .number(JSONNumber(catalog.resources.count + catalog.templates.count))
        status["prompts"] = .number(JSONNumber(catalog.prompts.count))
        status["routes"] = .array(
            routes.current.routes.map { ["route": .string($0.name), "plugin": .string($0.plugin)] })
        status["problems"] = .number(JSONNumber(allProblems.count))
        return .object(status)
    }

    /// Contributions that are not served as they are, with the reasons.
    private func problems(_ input: Empty, _ call: Call) async throws -> JSON {
        ["problems": .array(allProblems.map(\.json))]
    }

    private var allProblems: [Problem] { server.catalog.current.problems + routes.current.problems }
}

// MARK: - Health

extension GatewayPlugin: HealthReporting {
    /// What is left out is for the operator to know of, though all else is served: `knap doctor` shows it.
    public var health: Health {
        let errors = allProblems.filter { $0.severity == .error }
        guard !errors.isEmpty else { return Health(.healthy) }
        let shown = errors.prefix(5).map { "\($0.item) of \($0.plugin): \($0.reason)" }
        let more = errors.count > shown.count ? " 'knap call gateway.problems' shows all \(errors.count)." : ""
        return Health(.degraded, ["reason": .string(shown.joined(separator: " ") + more)])
    }
}

extension Offer {
    fileprivate init(_ contribution: Contribution) {
        self.init(
            plugin: contribution.plugin, isFirstParty: contribution.firstParty, item: contribution.item,
            method: contribution.method, isOwn: contribution.method != nil)
    }
}

extension Items {
    /// The bodies alone.
    fileprivate var bytes: AsyncMapSequence<Items, [UInt8]> { map(\.body) }
}
