import CKnap
import KnapCallEngine
import KnapPlugin
import Synchronization

/// One loaded generation of a plugin, running in this process.
///
/// `create → prepare → activate ⇄ suspend → destroy`; whoever drives it calls one after the other. A hook that does not
/// complete in its time fails, and its thread is left to it.
final class Instance: Sendable {
    let manifest: Manifest
    let generation: Int
    let context: InstanceContext
    let party: Party
    private let library: LoadedLibrary
    // Set once by `create`; the plugin's own, passed back to it on any thread.
    nonisolated(unsafe) private let instance: UnsafeMutableRawPointer?

    private init(
        manifest: Manifest, generation: Int, context: InstanceContext, party: Party, library: LoadedLibrary,
        instance: UnsafeMutableRawPointer?
    ) {
        self.manifest = manifest
        self.generation = generation
        self.context = context
        self.party = party
        self.library = library
        self.instance = instance
    }

    /// Makes an instance of a loaded library. Runs the plugin's code: not on one of Swift's threads.
    static func create(
        _ library: LoadedLibrary, manifest: Manifest, generation: Int, context: InstanceContext, engine: CallEngine
    ) throws(PluginError) -> Instance {
        let party = engine.makeParty(
            CallEngine.PartyOptions(
                name: manifest.name, inFlight: manifest.limits.inFlight, breaker: manifest.limits.breaker,
                assertsPrincipal: context.grants.assertsPrincipal), context: context)
        var pointer: UnsafeMutableRawPointer?
        let status = library.table.pointee.create(party.host, &pointer)
        if let code = StatusCode(rawValue: status) {
            throw PluginError(code: code, message: "\(manifest.name): create failed with \(code)")
        }
        return Instance(
            manifest: manifest, generation: generation, context: context, party: party, library: library,
            instance: pointer)
    }

    func prepare() async throws(PluginError) {
        try await run("prepare", library.table.pointee.prepare, timeout: manifest.hooks.prepare)
    }

    func activate() async throws(PluginError) {
        try await run("activate", library.table.pointee.activate, timeout: manifest.hooks.activate)
        party.open()
    }

    /// Lets no call in, waits for those in flight as long as the manifest allows, then suspends.
    func suspend() async throws(PluginError) {
        party.close()
        context.registry.unwatchAll(of: knap_host_id(party.host))
        let limit = Deadline.after(manifest.drainTimeout)
        while party.counts.in_flight > 0, !limit.hasPassed { try? await Task.sleep(for: .milliseconds(1)) }
        try await run("suspend", library.table.pointee.suspend, timeout: manifest.hooks.suspend)
    }

    /// Frees the instance. Runs the plugin's code: not on one of Swift's threads.
    func destroy() { library.table.pointee.destroy(instance) }

    private func run(
        _ name: StaticString, _ function: Hook.Function, timeout: Duration
    ) async throws(PluginError) {
        do throws(PluginError) {
            try await Hook.run(name, of: party, function, instance: instance, timeout: timeout)
        } catch {
            var error = error
            if error.code == .deadlineExceeded { error.message = "not done within \(timeout)" }
            error.message = "\(manifest.name): \(name) failed: \(error.message)"
            throw error
        }
    }

    /// The plugin's table for an extension that its manifest names.
    func `extension`<T>(_ id: String, as type: T.Type) -> UnsafePointer<T>? {
        library.table.pointee.`extension`(instance, id)?.assumingMemoryBound(to: type)
    }

    /// What the directory needs to route calls here.
    func provisions() throws(PluginError) -> [(ServiceDirectory.Provided, knap_provision_t)] {
        let byName = Dictionary(library.methods().map { ($0.name, $0) }) { first, _ in first }
        var provisions: [(ServiceDirectory.Provided, knap_provision_t)] = []
        for service in manifest.provides {
            for method in service.methods {
                guard let found = byName["\(service.service).\(method.name)"] else { continue }  // checked at loading
                let provision = knap_provision_t(
                    party: party.pointer, method: found.method, instance: instance, index: UInt32(found.index),
                    flags: method.isBlocking ? UInt32(KNAP_ROUTE_BLOCKING) : 0,
                    timeout_ns: method.deadline?.wholeNanoseconds ?? 0)
                var provided = ServiceDirectory.Provided(
                    plugin: manifest.name, service: service.service, version: service.version, method: method)
                do {
                    provided.schema = try method.input.map { schema throws(SchemaError) in try InputSchema(schema) }
                } catch {
                    throw PluginError(
                        code: .failedPrecondition,
                        message: "\(manifest.name): the input schema of \(provided.name) is not one: \(error)")
                }
                provisions.append((provided, provision))
            }
        }
        return provisions
    }

    /// What the plugin says of its own health; nil when it does not offer `knap.health/1`. Runs the plugin's code.
    func health() -> (status: Int32, report: String)? {
        guard let table = `extension`(KNAP_EXT_HEALTH, as: knap_plugin_health_t.self) else { return nil }
        var report: [UInt8] = []
        let status = withUnsafeMutablePointer(to: &report) { report in
            var writer = knap_writer_t(context: report) { context, piece in
                context?.assumingMemoryBound(to: [UInt8].self).pointee
                    .append(contentsOf: UnsafeBufferPointer(start: piece.data, count: Int(piece.size)))
            }
            return table.pointee.check(instance, &writer)
        }
        return (status, String(decoding: report, as: UTF8.self))
    }

    /// How this instance takes part in every call, if it does.
    var hooked: knap_hooked_t? {
        let observe =
            manifest.permissions.observes ? `extension`(KNAP_EXT_OBSERVE, as: knap_plugin_observe_t.self) : nil
        let intercept =
            manifest.permissions.intercepts ? `extension`(KNAP_EXT_INTERCEPT, as: knap_plugin_intercept_t.self) : nil
        guard observe != nil || intercept != nil else { return nil }
        return knap_hooked_t(instance: instance, observe: observe, intercept: intercept, party: party.pointer)
    }
}
