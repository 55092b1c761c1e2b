import GreeterFixture
import KnapCallEngine
import Testing

@testable import KnapPlugin

/// The caller in the tests: a plugin whose host the tests use, with methods that call on behalf of their callers.
final class Probe: Plugin {
    static let name = "probe", version = "1.0.0"
    static let methods: [Method<Probe>] = [.bytes("probe.forward", forward), .bytes("probe.cancelled", cancelled)]

    init(host: PluginHost) { self.host = host }
    let host: PluginHost

    /// Calls greeter.whoami on behalf of its own caller, with all the time in the world.
    func forward(_ body: [UInt8], _ call: Call) async throws -> Reply {
        try await host.services.bind("greeter.whoami").call(bytes: body, parent: call, deadline: .after(.seconds(3600)))
    }

    func cancelled(_ body: [UInt8], _ call: Call) async throws -> Reply { throw CancellationError() }
}

/// A host with the greeter and a caller in it.
struct Stage {
    let host: TestHost
    let greeter: Loaded<Greeter>
    let probe: Loaded<Probe>

    func bind(_ method: String) throws -> Binding { try probe.host.services.bind(method) }

    /// Runs a test, then checks that every call has ended, each once, and takes everything down.
    static func run(configuration: String = "{}", _ body: (Stage) async throws -> Void) async throws {
        let host = TestHost()
        let stage = try Stage(
            host: host,
            greeter: host.load(Greeter.self, configuration: configuration), probe: host.load(Probe.self, trusted: true))
        try await body(stage)
        for party in [stage.greeter.party, stage.probe.party] {
            var counts = knap_party_counts_t()
            let isIdle = await eventually {
                knap_party_count(party, &counts)
                return counts.in_flight == 0
            }
            #expect(isIdle, "\(counts.in_flight) calls have not completed")
            #expect(counts.misused == 0, "calls were completed twice")
        }
        stage.greeter.destroy()
        stage.probe.destroy()
        host.stop()
    }
}
