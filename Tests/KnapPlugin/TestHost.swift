import CKnap
import Glibc
import KnapCallEngine
import Synchronization

@testable import KnapPlugin

/// A host for tests: the real call engine, and of the extensions as little as it takes.
final class TestHost: @unchecked Sendable {  // The engine is safe on any thread; the rest is immutable.
    let engine: OpaquePointer
    let registry = TestRegistry()

    init() {
        var config = knap_engine_config_t()
        engine = knap_engine_create(&config)
    }

    /// Ends the engine. No call may be in flight.
    ///
    /// A caller hears of its answer before the thread that gave it has left the engine, so an engine is destroyed when
    /// many tests more have ended.
    func stop() {
        let due = Self.stopped.withLock { stopped -> TestHost? in
            stopped.append(self)
            return stopped.count > 32 ? stopped.removeFirst() : nil
        }
        if let due { knap_engine_destroy(due.engine) }
    }

    private static let stopped = Mutex<[TestHost]>([])

    /// Creates an instance of a plugin and provides its methods.
    func load<P: Plugin>(_ type: P.Type, configuration: String = "{}", trusted: Bool = false) throws -> Loaded<P> {
        try Loaded(exportPlugin(type), host: self, configuration: configuration, trusted: trusted)
    }
}

struct CreateFailure: Error {
    let status: knap_status_t
    let records: [LogRecord]
}

/// One plugin instance, as a host holds it.
final class Loaded<P: Plugin>: @unchecked Sendable {  // As `TestHost`.
    let table: UnsafePointer<knap_plugin_t>
    let party: OpaquePointer
    let services: PartyServices
    let instance: UnsafeMutableRawPointer

    init(_ table: UnsafePointer<knap_plugin_t>, host: TestHost, configuration: String, trusted: Bool) throws {
        self.table = table
        services = PartyServices(host, configuration: configuration)
        var config = knap_party_config_t()
        config.name = table.pointee.name
        config.extension = { host, id in PartyServices.table(host, id) }
        config.context = Unmanaged.passRetained(services).toOpaque()
        config.assert_principal = trusted ? 1 : 0
        party = knap_party_create(host.engine, &config)
        var instance: UnsafeMutableRawPointer?
        let status = table.pointee.create(knap_party_host(party), &instance)
        guard status == 0, let instance else { throw CreateFailure(status: status, records: services.records) }
        self.instance = instance
        for index in 0..<Int(table.pointee.method_count) {
            var provision = knap_provision_t()
            provision.party = party
            provision.method = table.pointee.methods[index]
            provision.instance = instance
            provision.index = UInt32(index)
            knap_route_provide(host.engine, knap_route_named(host.engine, provision.method.pointee.name), &provision)
        }
        knap_party_open(party, 1)
    }

    /// The SDK's side of the instance.
    var sdk: Instance { Unmanaged<Instance>.fromOpaque(instance).takeUnretainedValue() }
    var plugin: P { sdk.plugin(as: P.self) }
    var host: PluginHost { sdk.pluginHost }

    var counts: knap_party_counts_t {
        var counts = knap_party_counts_t()
        knap_party_count(party, &counts)
        return counts
    }

    typealias Hook = @convention(c) (UnsafeMutableRawPointer?, knap_call_t) -> Void

    func prepare() async throws { try await run(table.pointee.prepare) }
    func activate() async throws { try await run(table.pointee.activate) }
    func suspend() async throws { try await run(table.pointee.suspend) }

    private func run(_ hook: Hook?) async throws {
        let pending = PendingCall(link: sdk.link)
        var outgoing = knap_outgoing_t()
        outgoing.size = UInt32(MemoryLayout<knap_outgoing_t>.size)
        outgoing.caller = CallerTable.pointer
        outgoing.context = Unmanaged.passRetained(pending).toOpaque()
        var call: knap_call_t = 0
        let name: StaticString = "hook"
        let text = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        var hook = knap_hook_t(run: hook, instance: instance, name: text, is_blocking: true)
        let status = knap_engine_hook(party, party, &hook, &outgoing, &call)
        if status != 0 { Unmanaged.passUnretained(pending).release() }
        try PluginError.check(status, "run a hook")
        pending.started(call)
        _ = try await pending.result()
    }

    func destroy() {
        knap_party_open(party, 0)
        table.pointee.destroy(instance)
    }

    func `extension`<T>(_ id: String, as type: T.Type) -> T? {
        table.pointee.extension(instance, id)?.assumingMemoryBound(to: T.self).pointee
    }
}

/// Waits until a condition holds that another thread brings about; false when it took ten seconds.
func eventually(_ condition: () -> Bool) async -> Bool {
    let deadline = Deadline.after(.seconds(10))
    while !condition() {
        if deadline.hasPassed { return false }
        try? await Task.sleep(for: .milliseconds(1))
    }
    return true
}
