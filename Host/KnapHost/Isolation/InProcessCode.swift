import CKnap
import KnapCallEngine
import KnapPlugin

/// A plugin's code in the host's own process: a call is a function pointer, and a crash is the host's.
final class InProcessCode: PluginCode {
    private let library: LoadedLibrary
    private let party: Party
    // Set once by `create`, before anything else runs; the plugin's own, passed back to it on any thread.
    nonisolated(unsafe) private var instance: UnsafeMutableRawPointer?

    init(_ library: LoadedLibrary, party: Party) {
        self.library = library
        self.party = party
    }

    var isolation: Isolation { .inProcess }
    var details: [(String, String)] { [] }

    func create(timeout: Duration) async throws(PluginError) {
        let status = await onOwnThread { [self] in library.table.pointee.create(party.host, &instance) }
        if let code = StatusCode(rawValue: status) { throw PluginError(code: code, message: "\(code)") }
    }

    func prepare(timeout: Duration) async throws(PluginError) {
        try await Hook.run("prepare", of: party, library.table.pointee.prepare, instance: instance, timeout: timeout)
    }

    func activate(timeout: Duration) async throws(PluginError) {
        try await Hook.run("activate", of: party, library.table.pointee.activate, instance: instance, timeout: timeout)
    }

    func suspend(timeout: Duration) async throws(PluginError) {
        knap_party_end_timers(party.pointer)
        try await Hook.run("suspend", of: party, library.table.pointee.suspend, instance: instance, timeout: timeout)
    }

    func save(timeout: Duration) async throws(PluginError) -> SavedState? {
        guard let table = `extension`(KNAP_EXT_STATE, as: knap_plugin_state_t.self) else { return nil }
        let (status, bytes) = await onOwnThread { [self] in
            collecting { writer in table.pointer.pointee.save(instance, writer) }
        }
        if let code = StatusCode(rawValue: status) { throw PluginError(code: code, message: "save failed with \(code)") }
        return SavedState(schema: table.pointer.pointee.schema, bytes: bytes)
    }

    func load(_ state: SavedState, timeout: Duration) async throws(PluginError) {
        guard let table = `extension`(KNAP_EXT_STATE, as: knap_plugin_state_t.self) else { return }
        let status = await onOwnThread { [self] in
            state.bytes.withUnsafeBufferPointer {
                table.pointer.pointee.load(instance, state.schema, knap_bytes_t(data: $0.baseAddress, size: UInt64($0.count)))
            }
        }
        if let code = StatusCode(rawValue: status) {
            throw PluginError(code: code, message: "it refused the state of schema \(state.schema) with \(code)")
        }
    }

    func end() async { await onOwnThread { [self] in library.table.pointee.destroy(instance) } }

    func drain(until deadline: Deadline?) async {
        guard let table = `extension`(KNAP_EXT_DRAIN, as: knap_plugin_drain_t.self) else { return }
        await onOwnThread { [self] in
            if let deadline { table.pointer.pointee.begin(instance, deadline.nanoseconds) } else { table.pointer.pointee.abandon(instance) }
        }
    }

    func committed(timeout: Duration) async throws(PluginError) {
        guard let table = `extension`(KNAP_EXT_COMMITTED, as: knap_plugin_committed_t.self) else { return }
        try await Hook.run("committed", of: party, table.pointer.pointee.committed, instance: instance, timeout: timeout)
    }

    func health() async -> (status: Int32, report: String)? {
        guard let table = `extension`(KNAP_EXT_HEALTH, as: knap_plugin_health_t.self) else { return nil }
        let (status, report) = await onOwnThread { [self] in
            collecting { writer in table.pointer.pointee.check(instance, writer) }
        }
        return (status, String(decoding: report, as: UTF8.self))
    }

    func provision(of method: String, party: Party) -> knap_provision_t? {
        guard let found = library.methods().first(where: { $0.name == method }) else { return nil }
        return knap_provision_t(
            party: party.pointer, method: found.method, instance: instance, index: UInt32(found.index), flags: 0,
            timeout_ns: 0)
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
