import CKnap
import Glibc
import KnapCallEngine
import KnapJSON
import KnapPlugin
import Synchronization

/// A plugin's code in the host's own process: a call is a function pointer, and a crash is the host's.
final class InProcessCode: PluginCode {
    private let library: LoadedLibrary
    private let party: Party
    private let image: PluginImage
    /// Why the code stays whatever its image allows; nil when nothing of the host's may still call it.
    private let reasonToStay: String?
    private let onLeft: @Sendable (Residence) -> Void
    /// Held while the plugin is asked something beside its hooks; false once it has ended.
    private let isThere = Mutex(true)
    // Set once by `create`, before anything else runs; the plugin's own, passed back to it on any thread.
    nonisolated(unsafe) private var instance: UnsafeMutableRawPointer?

    /// `onLeft` is told, after the end, what became of the library.
    init(
        _ library: LoadedLibrary, party: Party, _ image: PluginImage, reasonToStay: String? = nil,
        onLeft: @escaping @Sendable (Residence) -> Void = { _ in }
    ) {
        self.library = library
        self.party = party
        self.image = image
        self.reasonToStay = reasonToStay
        self.onLeft = onLeft
    }

    var isolation: Isolation { .inProcess }
    var inWorkers: [WorkerCode] { [] }
    var workers: Int { 0 }
    var sandbox: SandboxLayers? { nil }
    var details: [(String, JSON)] { [] }

    // It ends with the host.
    func serves(_ isServing: Bool) {}
    var ended: String? { nil }

    func create(timeout: Duration) async throws(PluginError) {
        let status = try await run("create", timeout) { [self] in library.table.pointee.create(party.host, &instance) }
        if let code = StatusCode(rawValue: status) { throw PluginError(code: code, message: "\(code)") }
    }

    func prepare(timeout: Duration) async throws(PluginError) {
        try await hook("prepare", library.table.pointee.prepare, timeout)
    }

    func activate(timeout: Duration) async throws(PluginError) {
        try await hook("activate", library.table.pointee.activate, timeout)
    }

    func suspend(timeout: Duration) async throws(PluginError) {
        await onOwnThread { [party] in knap_party_end_timers(party.pointer) }
        try await hook("suspend", library.table.pointee.suspend, timeout)
    }

    func save(timeout: Duration) async throws(PluginError) -> SavedState? {
        guard let table = `extension`(KNAP_EXT_STATE, as: knap_plugin_state_t.self) else { return nil }
        let (status, bytes) = try await run("save", timeout) { [self] in
            collecting { writer in table.pointer.pointee.save(instance, writer) }
        }
        if let code = StatusCode(rawValue: status) { throw PluginError(code: code, message: "save failed with \(code)") }
        return SavedState(schema: table.pointer.pointee.schema, bytes: bytes)
    }

    func load(_ state: SavedState, timeout: Duration) async throws(PluginError) {
        guard let table = `extension`(KNAP_EXT_STATE, as: knap_plugin_state_t.self) else { return }
        let status = try await run("load", timeout) { [self] in
            state.bytes.withUnsafeBufferPointer {
                table.pointer.pointee.load(instance, state.schema, knap_bytes_t(data: $0.baseAddress, size: UInt64($0.count)))
            }
        }
        if let code = StatusCode(rawValue: status) {
            throw PluginError(code: code, message: "it refused the state of schema \(state.schema) with \(code)")
        }
    }

    /// One that does not return is left to itself, with its thread, its memory and its code.
    func end() async {
        let ended: Void? = try? await run("destroy", Self.patience) { [self] in
            // Of one that was never suspended.
            let context = InstanceContext.of(party.host)
            context.registry.unwatchAll(of: context.id)
            knap_party_end_timers(party.pointer)
            isThere.withLock { isThere in
                isThere = false
                if let instance { library.table.pointee.destroy(instance) }
            }
        }
        startThread { [self] in onLeft(ended == nil ? .retained("its destroy function has not returned") : leave()) }
    }

    /// Waits until no thread can be in the plugin's code, and unmaps it.
    private func leave() -> Residence {
        if let reasonToStay { return .retained(reasonToStay) }
        let limit = Deadline.after(.seconds(10))
        knap_party_end_timers(party.pointer)  // what destroy may have started
        while !knap_party_idle(party.pointer) {
            if limit.hasPassed { return .retained("calls that it made or served have not ended") }
            usleep(1000)
        }
        guard knap_engine_left(knap_party_engine(party.pointer), Duration.seconds(30).wholeNanoseconds) else {
            return .retained("a call kept a thread in plugins' code for too long")
        }
        let residence = library.close()
        if case .retained = residence { return residence }
        party.retire()
        return residence
    }

    func drain(until deadline: Deadline?) async {
        await whileThere("drain") { [self] in
            guard let table = `extension`(KNAP_EXT_DRAIN, as: knap_plugin_drain_t.self) else { return }
            if let deadline { table.pointer.pointee.begin(instance, deadline.nanoseconds) } else { table.pointer.pointee.abandon(instance) }
        }
    }

    func committed(timeout: Duration) async throws(PluginError) {
        guard let table = `extension`(KNAP_EXT_COMMITTED, as: knap_plugin_committed_t.self) else { return }
        try await Hook.run("committed", of: party, table.pointer.pointee.committed, instance: instance, timeout: timeout)
    }

    func health() async -> (status: Int32, report: String)? {
        await whileThere("health") { [self] in
            guard let table = `extension`(KNAP_EXT_HEALTH, as: knap_plugin_health_t.self) else { return nil }
            let (status, report) = collecting { writer in table.pointer.pointee.check(instance, writer) }
            return (status, String(decoding: report, as: UTF8.self))
        } ?? nil
    }

    /// Asks the plugin, on a thread that may block, unless it has ended; whoever ends it waits meanwhile. Nil: it has, or
    /// does not answer.
    @discardableResult
    private func whileThere<T: Sendable>(_ name: StaticString, _ work: @escaping @Sendable () -> T) async -> T? {
        let answer = try? await run(name, Self.patience) { [self] in isThere.withLock { $0 ? work() : nil } }
        return answer ?? nil
    }

    /// For what has no time of its own in the manifest.
    private static let patience = Duration.seconds(2)

    /// Runs a function of the plugin's that is no call on a thread of its own; past its time the thread is given up.
    private func run<T: Sendable>(
        _ name: StaticString, _ timeout: Duration, _ work: @escaping @Sendable () -> T
    ) async throws(PluginError) -> T {
        let (party, image) = (party, image)
        let result = await onOwnThread(within: timeout) {
            image.during(name) { party.within(name, work) }
        }
        guard let result else { throw PluginError(code: .deadlineExceeded, message: "not done within \(timeout)") }
        return result
    }

    private func hook(_ name: StaticString, _ function: Hook.Function, _ timeout: Duration) async throws(PluginError) {
        try await image.during(name) { () async throws(PluginError) in
            _ = try await Hook.run(name, of: party, function, instance: instance, timeout: timeout)
        }
    }

    func provision(of method: String, party: Party) -> knap_provision_t? {
        guard let found = library.methods().first(where: { $0.name == method }) else { return nil }
        return knap_provision_t(
            party: party.pointer, method: found.method, instance: instance, index: UInt32(found.index), flags: 0,
            timeout_ns: 0, retries: 0, concurrency: 0)
    }

    func hooked(_ manifest: Manifest, party: Party) -> knap_hooked_t? {
        let observe =
            manifest.permissions.observes ? `extension`(KNAP_EXT_OBSERVE, as: knap_plugin_observe_t.self) : nil
        let intercept =
            manifest.permissions.intercepts ? `extension`(KNAP_EXT_INTERCEPT, as: knap_plugin_intercept_t.self) : nil
        guard observe != nil || intercept != nil else { return nil }
        return knap_hooked_t(instance: instance, observe: observe?.pointer, intercept: intercept?.pointer, party: party.pointer)
    }

    private func `extension`<T>(_ id: String, as type: T.Type) -> ExtensionTable<T>? {
        library.table.pointee.`extension`(instance, id).map { ExtensionTable(pointer: $0.assumingMemoryBound(to: type)) }
    }
}

/// A table of the plugin's: constant while its instance lives.
private struct ExtensionTable<T>: @unchecked Sendable {
    let pointer: UnsafePointer<T>
}

/// Runs `work` with a writer and returns what was written, and its status.
private func collecting(_ work: (UnsafePointer<knap_writer_t>) -> Int32) -> (Int32, [UInt8]) {
    var bytes: [UInt8] = []
    let status = withUnsafeMutablePointer(to: &bytes) { bytes in
        var writer = knap_writer_t(context: bytes) { context, piece in
            context?.assumingMemoryBound(to: [UInt8].self).pointee
                .append(contentsOf: UnsafeBufferPointer(start: piece.data, count: Int(piece.size)))
        }
        return work(&writer)
    }
    return (status, bytes)
}
