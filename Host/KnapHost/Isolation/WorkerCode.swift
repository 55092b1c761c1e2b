import CKnap
import KnapCallEngine
import KnapJSON
import KnapLink
import KnapPlugin

/// A plugin's code in a process of its own: a call crosses by shared memory, and a crash is only the plugin's.
final class WorkerCode: PluginCode {
    let process: WorkerProcess
    private let report: WorkerProcess.LoadedReport

    /// Refuses a library that is not what its manifest says.
    init(_ process: WorkerProcess, _ report: WorkerProcess.LoadedReport, _ manifest: Manifest) throws(PluginError) {
        self.process = process
        self.report = report
        try LoadedLibrary.checkClaims(
            name: report.name, version: report.version, methods: report.methods, against: manifest)
        var idempotent: UInt64 = 0
        let known = Set(
            manifest.provides.flatMap { service in
                service.methods.filter(\.isIdempotent).map { "\(service.service).\($0.name)" }
            })
        for (index, method) in report.methods.enumerated() where index < 64 && known.contains(method) {
            idempotent |= 1 << UInt64(index)
        }
        process.setIdempotent(idempotent)
    }

    var isolation: Isolation { .worker }
    var inWorkers: [WorkerCode] { [self] }
    var workers: Int { process.end == nil ? 1 : 0 }
    var details: [(String, JSON)] {
        [("process", .string("\(process.pid)")), ("sandbox", .string(report.sandbox.description)), ("control_group", .string(controlGroup))]
            + (report.remarks.isEmpty ? [] : [("not_achieved", .string(report.remarks))])
    }

    private var controlGroup: String {
        switch process.controlGroup {
        case .success(let group): group.directory
        case .failure(let error): "none: \(error.message)"
        }
    }

    func serves(_ isServing: Bool) { process.serves(isServing) }
    var ended: String? { process.end }

    var sandbox: SandboxLayers? { report.sandbox }

    func create(timeout: Duration) async throws(PluginError) { try await run("create", .create, timeout: timeout) }
    func prepare(timeout: Duration) async throws(PluginError) { try await run("prepare", .prepare, timeout: timeout) }
    func activate(timeout: Duration) async throws(PluginError) { try await run("activate", .activate, timeout: timeout) }
    func suspend(timeout: Duration) async throws(PluginError) {
        process.context.registry.unwatchAll(of: process.context.id)
        try await run("suspend", .suspend, timeout: timeout)
    }

    func save(timeout: Duration) async throws(PluginError) -> SavedState? {
        let bytes = try await run("save", .save, timeout: timeout)
        var reader = FrameReader(bytes[...])
        guard let schema = reader.u32() else { throw PluginError(code: .dataLoss, message: "what it saved is no state") }
        return SavedState(schema: schema, bytes: Array(bytes.dropFirst(4)))
    }

    func load(_ state: SavedState, timeout: Duration) async throws(PluginError) {
        var body = FrameWriter()
        body.put(state.schema)
        body.append(state.bytes)
        try await run("load", .load, body.bytes, timeout: timeout)
    }

    func committed(timeout: Duration) async throws(PluginError) {
        try await run("committed", .committed, timeout: timeout)
    }

    func end() async {
        if process.end == nil { _ = try? await run("destroy", .destroy, timeout: .seconds(2)) }
        process.kill()
    }

    func drain(until deadline: Deadline?) async {
        var body = FrameWriter()
        if let deadline { body.put(deadline.nanoseconds) }
        _ = try? await run("drain", deadline == nil ? .drainAbandon : .drainBegin, body.bytes, timeout: .seconds(1))
    }

    func health() async -> (status: Int32, report: String)? {
        guard let bytes = try? await run("health", .health, timeout: .seconds(1)) else { return nil }
        var reader = FrameReader(bytes[...])
        guard let status = reader.u32() else { return nil }
        return (Int32(clamping: status), String(decoding: bytes.dropFirst(4), as: UTF8.self))
    }

    /// Where the library's table has the method.
    func index(of method: String) -> Int? { report.methods.firstIndex(of: method) }

    func provision(of method: String, party: Party) -> knap_provision_t? {
        guard let index = index(of: method), let link = process.linkPointer else { return nil }
        return knap_provision_t(
            party: party.pointer, method: WorkerHook.forwarding, instance: UnsafeMutableRawPointer(link),
            index: UInt32(index), flags: 0, timeout_ns: 0, retries: 0, concurrency: 0)
    }

    func hooked(_ manifest: Manifest, party: Party) -> knap_hooked_t? { nil }

    @discardableResult
    private func run(
        _ name: StaticString, _ hook: WorkerHook, _ body: [UInt8] = [], timeout: Duration
    ) async throws(PluginError) -> [UInt8] {
        do throws(PluginError) {
            let special = SpecialCall(process: process, hook: hook, body: body)
            return try await Hook.run(
                name, of: process.party, SpecialCall.send, instance: Unmanaged.passRetained(special).toOpaque(),
                isBlocking: false, timeout: timeout)
        } catch {
            if let end = process.end { throw PluginError(code: .unavailable, message: end) }
            throw error
        }
    }
}

/// The methods of a worker itself; see Host/Worker/worker.h.
enum WorkerHook: UInt32 {
    case create = 0x8000, prepare, activate, suspend, destroy, save, load, health, drainBegin, drainAbandon
    case registryChanged, connected, committed

    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let forwarding = permanent(
        knap_method_t(size: UInt32(MemoryLayout<knap_method_t>.size), reserved: 0, name: nil, call: knap_link_forward))
    /// The same for a pool.
    nonisolated(unsafe) static let sharing = permanent(
        knap_method_t(size: UInt32(MemoryLayout<knap_method_t>.size), reserved: 0, name: nil, call: knap_group_forward))

    /// Whether the process takes a message and answers it in time.
    static func isAnswered(by process: WorkerProcess, within limit: Duration) async -> Bool {
        let special = Unmanaged.passRetained(SpecialCall(process: process, hook: .health, body: []))
        do throws(PluginError) {
            try await Hook.run(
                "ping", of: process.party, SpecialCall.send, instance: special.toOpaque(), isBlocking: false, timeout: limit)
            return true
        } catch {
            return error.code != .deadlineExceeded
        }
    }

    /// Sends a message that nobody waits for.
    static func tell(_ process: WorkerProcess, _ hook: WorkerHook, _ body: [UInt8]) {
        var outgoing = knap_outgoing_t()
        outgoing.size = UInt32(MemoryLayout<knap_outgoing_t>.size)
        outgoing.deadline_ns = Deadline.after(.seconds(10)).nanoseconds
        outgoing.caller = nobody
        let special = Unmanaged.passRetained(SpecialCall(process: process, hook: hook, body: body))
        var hook = knap_hook_t("tell", SpecialCall.send, special.toOpaque(), isBlocking: false)
        let status = knap_engine_hook(process.party.pointer, process.party.pointer, &hook, &outgoing, nil)
        if status != 0 { special.release() }
    }

    // Immutable after this; read by any thread.
    nonisolated(unsafe) private static let nobody = permanent(
        knap_caller_t(
            size: UInt32(MemoryLayout<knap_caller_t>.size), reserved: 0, complete: { _, _, _ in }, item: { _, _, _ in },
            credit: { _, _ in }))
}

/// A call to the worker itself, until it is sent.
private final class SpecialCall: Sendable {
    let process: WorkerProcess
    let hook: WorkerHook
    let body: [UInt8]

    init(process: WorkerProcess, hook: WorkerHook, body: [UInt8]) {
        self.process = process
        self.hook = hook
        self.body = body
    }

    static let send: Hook.Function = { context, call in
        guard let context else { return }
        let special = Unmanaged<SpecialCall>.fromOpaque(context).takeRetainedValue()
        special.process.sendSpecial(call, special.hook.rawValue, special.body)
    }
}
