import KnapJSON
import KnapPlugin

/// The service `host`: what people and programs may ask of the host and tell it to do.
final class HostService: Plugin {
    static let name = "host", version = "0.1.0"

    static let methods: [KnapPlugin.Method<HostService>] = [
        .call("host.info", info), .call("host.plugins", plugins), .call("host.plugin", plugin),
        .call("host.plan", plan),
        .call("host.doctor", doctor), .call("host.services", services), .call("host.contributions", contributions),
        .call("host.config_list", configList), .call("host.config_get", configGet),
        .call("host.config_set", configSet), .call("host.grant", grant),
    ]

    private let host: Host

    init(host: PluginHost) throws {
        guard let found = RunningHosts.host(serviceDirectory: try host.stateDirectory) else {
            throw PluginError(code: .internal, message: "the service 'host' was made outside a host")
        }
        self.host = found
    }

    struct Named: Codable, Sendable { var name: String }
    struct Point: Codable, Sendable { var point: String }
    struct Setting: Codable, Sendable {
        var name: String
        var key: String
        var value: JSON?
        var secret: Bool?
    }

    func info(_ input: Empty, _ call: Call) async throws -> JSON { await host.info }
    func plugins(_ input: Empty, _ call: Call) async throws -> JSON { await ["plugins": .array(host.pluginSummaries)] }
    func plugin(_ input: Named, _ call: Call) async throws -> JSON { try await host.pluginDetails(input.name) }
    func plan(_ input: Empty, _ call: Call) async throws -> JSON { await host.planNow() }
    func doctor(_ input: Empty, _ call: Call) async throws -> JSON { await host.diagnosis }
    func services(_ input: Empty, _ call: Call) async throws -> JSON { await ["services": host.serviceDescriptions] }
    func configList(_ input: Empty, _ call: Call) async throws -> JSON { host.configurationStore.listing }

    func contributions(_ input: Point, _ call: Call) async throws -> JSON { host.registry.snapshot(of: input.point) }

    func configGet(_ input: Named, _ call: Call) async throws -> JSON {
        try await host.effectiveConfiguration(input.name)
    }

    func configSet(_ input: Setting, _ call: Call) async throws -> JSON {
        do {
            let secret = input.secret ?? false
            try host.configurationStore.set(input.name, input.key, input.value, secret: secret)
        } catch {
            throw PluginError(code: .failedPrecondition, message: error.description)
        }
        return ["applies": .string("at the next start of \(input.name)")]
    }

    func grant(_ input: Named, _ call: Call) async throws -> JSON { try await host.grant(input.name) }
}
