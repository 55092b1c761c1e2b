import CKnap
import KnapCallEngine
import KnapJSON
import KnapLink
import KnapPlugin
import Synchronization

/// A plugin's code in several processes with the same content: each call goes to the one with the fewest in flight.
///
/// Hooks run in all of them, side by side. They share the plugin's party, and with it its bindings, its bulkhead and its
/// gate; each has a context of its own for what it asks of the host. See PoolScaling.swift for how many there are.
final class WorkerPool: PluginCode {
    /// Starts one more process, which has loaded the library and nothing else.
    typealias Starter = @Sendable (WorkerGroup) async throws(PluginError) -> WorkerCode

    let bounds: Pool
    let group: WorkerGroup
    let scaling: PoolScaling
    private let party: Party
    private let start: Starter
    private let state: Mutex<State>

    private struct State {
        /// How many there should be; ends of workers do not change it.
        var wanted: Int
        /// No call can be on its way into the group.
        var isQuiet = true
    }

    /// Starts `count` processes. `resize` is asked, again and again, for what the load demands.
    init(
        _ bounds: Pool, count: Int, engine: CallEngine, party: Party, start: @escaping Starter,
        resize: @escaping @Sendable (PoolScaling.Change) async -> Bool
    ) async throws(PluginError) {
        self.bounds = bounds
        self.party = party
        self.start = start
        state = Mutex(State(wanted: count))
        let scaling = PoolScaling(bounds, resize)
        self.scaling = scaling
        let group = try WorkerGroup(engine: engine, party: party, busy: bounds.maximum > bounds.minimum ? bounds.concurrency : 0) {
            scaling.pressed()
        }
        self.group = group
        scaling.watch(group)
        let outcomes = await sideBySide(0..<count) { _ throws(PluginError) in try group.join(try await start(group)) }
        if let error = outcomes {
            await end()
            throw error
        }
    }

    // MARK: Size

    /// Those that get calls.
    var count: Int { group.members.count { !$0.isDraining } }
    var wanted: Int { state.withLock { $0.wanted } }

    /// Starts one more worker and lets calls in. `isReplacement`: for one that ended.
    func add(_ manifest: Manifest, isReplacement: Bool) async throws(PluginError) {
        let code = try await start(group)
        do throws(PluginError) {
            try await code.create(timeout: manifest.hooks.prepare)
            try await code.prepare(timeout: manifest.hooks.prepare)
            try await code.activate(timeout: manifest.hooks.activate)
            try group.join(code)
        } catch {
            await code.end()
            throw error
        }
        if !isReplacement { state.withLock { $0.wanted += 1 } }
    }

    /// Ends a worker that was drained; false when there is none.
    func removeDrained(_ manifest: Manifest) async -> Bool {
        guard let code = group.takeDrained() else { return false }
        state.withLock { $0.wanted = max(bounds.minimum, $0.wanted - 1) }
        _ = try? await code.suspend(timeout: manifest.hooks.suspend)
        await code.end()
        return true
    }

    // MARK: Hooks

    private var living: [WorkerCode] { group.members.map(\.code) }

    func create(timeout: Duration) async throws(PluginError) {
        try await all { code throws(PluginError) in try await code.create(timeout: timeout) }
    }

    func prepare(timeout: Duration) async throws(PluginError) {
        try await all { code throws(PluginError) in try await code.prepare(timeout: timeout) }
    }

    func activate(timeout: Duration) async throws(PluginError) {
        state.withLock { $0.isQuiet = false }
        try await all(passingOver: true) { code throws(PluginError) in try await code.activate(timeout: timeout) }
    }

    func suspend(timeout: Duration) async throws(PluginError) {
        if party.counts.in_flight == 0 { state.withLock { $0.isQuiet = true } }
        try await all(passingOver: true) { code throws(PluginError) in try await code.suspend(timeout: timeout) }
    }

    // The manifest's rules keep plugins whose state is handed over from having pools.
    func save(timeout: Duration) async throws(PluginError) -> SavedState? { nil }
    func load(_ state: SavedState, timeout: Duration) async throws(PluginError) {}

    /// In one of them: they share what is on disk, and the others see it converted.
    func committed(timeout: Duration) async throws(PluginError) { try await living.first?.committed(timeout: timeout) }

    func end() async {
        scaling.stop()
        _ = await sideBySide(living) { code in await code.end() }
        if state.withLock({ $0.isQuiet }) || party.counts.in_flight == 0 { group.retire() }
    }

    func drain(until deadline: Deadline?) async { _ = await sideBySide(living) { code in await code.drain(until: deadline) } }

    /// The worst of what its workers say.
    func health() async -> (status: Int32, report: String)? {
        var worst: (status: Int32, report: String)?
        for code in living {
            guard let health = await code.health() else { continue }
            if worst.map({ $0.status < health.status }) ?? true {
                worst = (health.status, "process \(code.process.pid): \(health.report)")
            }
        }
        return worst
    }

    /// Runs a hook in every worker. `passingOver`: one that ended meanwhile is left out while others live.
    private func all(
        passingOver: Bool = false, _ hook: @escaping @Sendable (WorkerCode) async throws(PluginError) -> Void
    ) async throws(PluginError) {
        let codes = passingOver ? living.filter { $0.process.end == nil } : living
        if passingOver, codes.isEmpty { throw PluginError(code: .unavailable, message: ended ?? "all its workers ended") }
        let failure = await sideBySide(codes) { code throws(PluginError) in
            do throws(PluginError) { try await hook(code) } catch {
                let others = codes.contains { $0 !== code && $0.process.end == nil }
                if passingOver, others, code.process.end != nil { return }
                throw error
            }
        }
        if let failure { throw failure }
    }

    // MARK: Calls

    func provision(of method: String, party: Party) -> knap_provision_t? {
        guard let index = living.first?.index(of: method) else { return nil }
        return knap_provision_t(
            party: party.pointer, method: WorkerHook.sharing, instance: UnsafeMutableRawPointer(group.pointer),
            index: UInt32(index), flags: 0, timeout_ns: 0, retries: 0, concurrency: 0)
    }

    func hooked(_ manifest: Manifest, party: Party) -> knap_hooked_t? { nil }

    func serves(_ isServing: Bool) {
        group.serves(isServing)
        // A generation may begin with more workers than it needs.
        if isServing, count > bounds.minimum { scaling.pressed() }
    }

    var ended: String? { group.end }

    // MARK: Reports

    var isolation: Isolation { .worker }
    var inWorkers: [WorkerCode] { living }
    var workers: Int { count }
    /// What all of them have.
    var sandbox: SandboxLayers? { living.compactMap(\.sandbox).reduce(nil) { $0?.intersection($1) ?? $1 } }

    var details: [(String, JSON)] {
        let members = group.members
        let loads = members.map { $0.code.process.outgoing }
        let waiting = loads.map { max(0, $0 - bounds.concurrency) }
        let workers = zip(members, zip(loads, waiting)).map { member, numbers -> JSON in
            [
                "process": .number(JSONNumber(Int(member.code.process.pid))),
                "state": .string(member.isDraining ? "draining" : "serving"),
                "in_flight": .number(JSONNumber(numbers.0)), "waiting": .number(JSONNumber(numbers.1)),
            ]
        }
        let sum: JSON = [
            "min": .number(JSONNumber(bounds.minimum)), "max": .number(JSONNumber(bounds.maximum)),
            "concurrency": .number(JSONNumber(bounds.concurrency)),
            "in_flight": .number(JSONNumber(loads.reduce(0, +))), "waiting": .number(JSONNumber(waiting.reduce(0, +))),
        ]
        let shared = members.first?.code.details.filter { $0.0 != "process" } ?? []
        return [("pool", sum), ("processes", .array(workers))] + shared
    }
}

/// Runs `work` for all of them at once and waits for all; the first error, if there was one.
private func sideBySide<Items: Collection & Sendable>(
    _ items: Items, _ work: @escaping @Sendable (Items.Element) async throws(PluginError) -> Void
) async -> PluginError? where Items.Element: Sendable {
    await withTaskGroup(of: PluginError?.self) { group in
        for item in items {
            group.addTask {
                do throws(PluginError) { try await work(item) } catch { return error }
                return nil
            }
        }
        return await group.reduce(nil as PluginError?) { $0 ?? $1 }
    }
}
