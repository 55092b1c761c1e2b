import KnapJSON
import KnapPlugin

/// The service `host`: what people and programs may ask of the host and tell it to do.
final class HostService: Plugin {
    static let name = "host", version = "0.1.0"

    static let methods: [KnapPlugin.Method<HostService>] = [
        .call("host.info", info), .call("host.plugins", plugins), .call("host.plugin", plugin),
        .call("host.plan", plan),
        .call("host.doctor", doctor), .call("host.services", services), .call("host.contributions", contributions),
        .call("host.check_contributions", checkContributions),
        .call("host.config_list", configList), .call("host.config_get", configGet),
        .call("host.config_set", configSet), .call("host.grant", grant),
        .call("host.trust_list", trustList), .call("host.trust_add", trustAdd), .call("host.trust_remove", trustRemove),
        .call("host.trust_unpin", trustUnpin),
        .call("host.enable", enable), .call("host.disable", disable), .call("host.reload", reload),
        .call("host.rollback", rollback), .call("host.release", release), .call("host.isolate", isolate),
        .call("host.install", install), .call("host.upgrade", upgrade), .call("host.remove", remove), .call("host.operation", operation),
        .call("host.history", history), .stream("host.watch", watch),
    ]

    private let host: Host

    init(host: PluginHost) throws {
        guard let found = RunningHosts.host(serviceDirectory: try host.stateDirectory) else {
            throw PluginError(code: .internal, message: "the service 'host' was made outside a host")
        }
        self.host = found
    }

    struct MaybeNamed: Codable, Sendable { var name: String? }
    struct Named: Codable, Sendable { var name: String }
    struct Point: Codable, Sendable { var point: String }
    struct Contributed: Codable, Sendable {
        var point: String
        var items: [JSON]
    }
    struct Setting: Codable, Sendable {
        var name: String
        var key: String
        var value: JSON?
        var secret: Bool?
    }

    struct Key: Codable, Sendable {
        var name: String
        /// PEM.
        var key: String
    }

    struct Isolated: Codable, Sendable {
        var name: String
        var isolation: String?
    }
    struct File: Codable, Sendable { var path: String }
    struct Removed: Codable, Sendable {
        var name: String
        var cascade: Bool?
    }
    struct Numbered: Codable, Sendable {
        var operation: Int
        var wait: Bool?
    }
    struct Count: Codable, Sendable { var count: Int? }

    func info(_ input: Empty, _ call: Call) async throws -> JSON { await host.info }
    func plugins(_ input: Empty, _ call: Call) async throws -> JSON { await ["plugins": .array(host.pluginSummaries)] }
    func plugin(_ input: Named, _ call: Call) async throws -> JSON { try await host.pluginDetails(input.name) }
    func plan(_ input: Empty, _ call: Call) async throws -> JSON { await host.planNow() }
    func doctor(_ input: Empty, _ call: Call) async throws -> JSON { await host.diagnosis() }
    func services(_ input: Empty, _ call: Call) async throws -> JSON { await ["services": host.serviceDescriptions] }
    func configList(_ input: Empty, _ call: Call) async throws -> JSON { host.configurationStore.listing }

    func contributions(_ input: Point, _ call: Call) async throws -> JSON { host.registry.snapshot(of: input.point) }

    func checkContributions(_ input: Contributed, _ call: Call) async throws -> JSON {
        let problems = await host.problems(of: input.items, at: input.point)
        return ["problems": .array(problems.map { $0.map(JSON.string) ?? .null })]
    }

    func configGet(_ input: Named, _ call: Call) async throws -> JSON {
        try await host.effectiveConfiguration(input.name)
    }

    func configSet(_ input: Setting, _ call: Call) async throws -> JSON {
        try await host.configure(input.name, input.key, input.value, secret: input.secret ?? false)
    }

    func grant(_ input: Named, _ call: Call) async throws -> JSON { try await host.grant(input.name) }
    func trustList(_ input: Empty, _ call: Call) async throws -> JSON { await host.trustReport }
    func trustAdd(_ input: Key, _ call: Call) async throws -> JSON { try await host.trust(input.name, pem: input.key) }
    func trustRemove(_ input: Named, _ call: Call) async throws -> JSON { try await host.distrust(input.name) }
    func trustUnpin(_ input: Named, _ call: Call) async throws -> JSON { try await host.unpin(input.name) }
    func enable(_ input: Named, _ call: Call) async throws -> JSON { try await host.enable(input.name, true) }
    func disable(_ input: Named, _ call: Call) async throws -> JSON { try await host.enable(input.name, false) }
    func reload(_ input: Named, _ call: Call) async throws -> JSON { try await host.reload(input.name) }
    func rollback(_ input: Named, _ call: Call) async throws -> JSON { try await host.rollback(input.name) }
    func release(_ input: MaybeNamed, _ call: Call) async throws -> JSON { try await host.release(input.name) }
    func install(_ input: File, _ call: Call) async throws -> JSON { await host.install(input.path) }

    func upgrade(_ input: File, _ call: Call) async throws -> JSON { await host.upgrade(input.path) }

    func isolate(_ input: Isolated, _ call: Call) async throws -> JSON {
        try await host.isolate(input.name, input.isolation.flatMap { Isolation(rawValue: $0) })
    }

    func remove(_ input: Removed, _ call: Call) async throws -> JSON {
        try await host.remove(input.name, cascade: input.cascade ?? false)
    }

    func operation(_ input: Numbered, _ call: Call) async throws -> JSON {
        try await host.operation(input.operation, wait: input.wait ?? false)
    }

    func watch(_ input: Empty, _ call: DuplexCall) async throws -> Empty {
        for await change in host.feed.changes() { try await call.send(encoding: change) }
        return Empty()
    }

    func history(_ input: Count, _ call: Call) async throws -> JSON {
        ["history": .array(host.history.entries(input.count ?? 50))]
    }
}
