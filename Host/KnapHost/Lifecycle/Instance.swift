import CKnap
import KnapCallEngine
import KnapPlugin

/// One generation of a plugin, in this process or in a worker.
///
/// `create → prepare → activate ⇄ suspend → destroy`; whoever drives it calls one after the other. A hook that does not
/// complete in its time fails.
final class Instance: Sendable {
    let artifact: Artifact?
    let manifest: Manifest
    let generation: Int
    let context: InstanceContext
    let party: Party
    let code: any PluginCode

    init(
        artifact: Artifact?, manifest: Manifest, generation: Int, context: InstanceContext, party: Party,
        code: any PluginCode
    ) {
        self.artifact = artifact
        self.manifest = manifest
        self.generation = generation
        self.context = context
        self.party = party
        self.code = code
    }

    func create() async throws(PluginError) {
        try await named("create") { () throws(PluginError) in try await code.create(timeout: manifest.hooks.prepare) }
    }

    func prepare() async throws(PluginError) {
        try await named("prepare") { () throws(PluginError) in try await code.prepare(timeout: manifest.hooks.prepare) }
    }

    func activate() async throws(PluginError) {
        try await named("activate") { () throws(PluginError) in try await code.activate(timeout: manifest.hooks.activate) }
    }

    /// No call may be in flight.
    func suspend() async throws(PluginError) {
        context.registry.unwatchAll(of: context.id)
        try await named("suspend") { () throws(PluginError) in try await code.suspend(timeout: manifest.hooks.suspend) }
    }

    func save() async throws(PluginError) -> SavedState? {
        guard manifest.extensions.contains(KNAP_EXT_STATE) else { return nil }
        return try await named("save") { () throws(PluginError) in try await code.save(timeout: manifest.hooks.suspend) }
    }

    func load(_ state: SavedState) async throws(PluginError) {
        try await named("load") { () throws(PluginError) in try await code.load(state, timeout: manifest.hooks.activate) }
    }

    /// Tells the plugin, if it wants to know, that the host will not return to the generation before this one.
    func committed() async throws(PluginError) {
        guard manifest.extensions.contains(KNAP_EXT_COMMITTED) else { return }
        try await named("committed") { () throws(PluginError) in try await code.committed(timeout: manifest.hooks.activate) }
    }

    /// Waits until no call is in flight, or the manifest's drain time is over, or the task is cancelled. No call comes in
    /// meanwhile. `mayServeOn`: the plugin is told when the drain is given up.
    func drain(mayServeOn: Bool = true) async -> Bool {
        if party.counts.in_flight == 0 { return true }
        let limit = Deadline.after(manifest.drainTimeout)
        let takesPart = manifest.extensions.contains(KNAP_EXT_DRAIN)
        if takesPart { await code.drain(until: limit) }
        if await isIdle(by: limit) { return true }
        if takesPart, mayServeOn { await code.drain(until: nil) }
        return false
    }

    /// Whether no call is in flight, now or by `limit`; false at once when the task is cancelled.
    private func isIdle(by limit: Deadline) async -> Bool {
        var looks = 0
        while party.counts.in_flight > 0 {
            if limit.hasPassed || Task.isCancelled { return false }
            // Calls wait for a drain that is short; one that takes long need not be watched so closely.
            looks += 1
            try? await Task.sleep(for: looks < 250 ? .microseconds(200) : .milliseconds(2))
        }
        return true
    }

    /// Answers the callers whose calls did not end within the drain and waits for the plugin to let go of them; false
    /// when it does not.
    func endCalls() async -> Bool {
        let message = "\(manifest.name) was replaced or stopped, and the call did not end within \(manifest.drainTimeout)"
        await onOwnThread { [party] in
            party.endCalls(.unavailable, message, details: #"{"reason":"moved","may_have_run":true}"#)
        }
        // Whoever cut the drain short still waits for this.
        return await Task { await isIdle(by: .after(manifest.hooks.suspend)) }.value
    }

    private func named<T>(
        _ hook: String, _ body: () async throws(PluginError) -> T
    ) async throws(PluginError) -> T {
        do throws(PluginError) { return try await body() } catch {
            var error = error
            error.message = "\(manifest.name): \(hook) failed: \(error.message)"
            throw error
        }
    }

    /// What the directory needs to route calls here.
    func provisions() throws(PluginError) -> [ServiceDirectory.Offer] {
        var provisions: [ServiceDirectory.Offer] = []
        for service in manifest.provides {
            for method in service.methods {
                guard var provision = code.provision(of: "\(service.service).\(method.name)", party: party) else {
                    continue  // checked at loading
                }
                // In a worker the method runs on that process's threads.
                let blocks = method.isBlocking && code.isolation == .inProcess
                provision.apply(method, blocks: blocks)
                var provided = ServiceDirectory.Provided(
                    plugin: manifest.name, service: service.service, version: service.version, method: method,
                    isFallback: service.isFallback)
                do {
                    provided.schema = try method.input.map { schema throws(SchemaError) in try InputSchema(schema) }
                } catch {
                    throw PluginError(
                        code: .failedPrecondition,
                        message: "\(manifest.name): the input schema of \(provided.name) is not one: \(error)")
                }
                provisions.append(ServiceDirectory.Offer(provided: provided, provision: provision))
            }
        }
        return provisions
    }

    /// What the plugin says of its own health; nil when it says nothing.
    func health() async -> (status: Int32, report: String)? {
        manifest.extensions.contains(KNAP_EXT_HEALTH) ? await code.health() : nil
    }

    /// How this instance takes part in every call, if it does.
    var hooked: knap_hooked_t? { code.hooked(manifest, party: party) }
}

extension knap_provision_t {
    /// What the manifest says of how the method is called.
    fileprivate mutating func apply(_ method: Method, blocks: Bool) {
        flags = blocks ? UInt32(KNAP_ROUTE_BLOCKING) : 0
        if method.isIdempotent && method.streams == .none { flags |= UInt32(KNAP_ROUTE_IDEMPOTENT) }
        timeout_ns = method.deadline?.wholeNanoseconds ?? 0
        retries = UInt32(clamping: method.retries)
        concurrency = UInt32(clamping: method.concurrency ?? 0)
    }
}
