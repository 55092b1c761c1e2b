import KnapCallEngine
import KnapPlugin
import Logging

/// Replacement without a pause, for a plugin whose generations may serve side by side (`"reload": "overlap"`).
///
///     1  make, prepare and activate the new one   the old one serves; failed: it never noticed
///     2  publish the new routes, all at once      from here on calls go to the new one
///     3  wait until the old one has no call       at most its drain time; then they end with UNAVAILABLE, reason "moved"
///     4  suspend and destroy the old one
///
/// 3 and 4 go on by themselves while the host does other things. Several plugins at once are replaced with gates, because
/// an old generation that still serves would see the others' new ones.
extension Host {
    func mayOverlap(_ pairs: [Pair], _ kind: ReplacementKind) -> Bool {
        guard kind == .reload, pairs.count == 1, let pair = pairs.first else { return false }
        let (old, new) = (pair.old.manifest, pair.artifact.manifest)
        // A state directory that has to be copied first must not be in use.
        return old.reload == .overlap && new.reload == .overlap && old.stateSchema == new.stateSchema
    }

    func takeOver(_ pair: Pair, _ changes: [Change]) async throws(PluginError) {
        guard let new = pair.new else { return }
        try await new.activate()
        // Both versions use the state directory as it is, so nothing can be lost by an entry that is too early.
        try await record(.switched, changes)
        // A gate only for the moment of the publication, so that nobody calls a new route and then an old one.
        guard let gate = engine.closeGate(of: [pair.old.party]) else {
            throw PluginError(code: .resourceExhausted, message: "out of memory for a gate")
        }
        do throws(PluginError) { try serve(new, pair.name, "reloaded") } catch {
            pair.old.party.open()
            await onOwnThread { gate.open() }
            throw error
        }
        await onOwnThread { gate.open() }
    }

    // MARK: Retiring

    /// Lets a generation that gets no more calls end those it has, and then ends it.
    func retire(_ old: Instance, of name: String) {
        let task = Task {
            var isIdle = await old.drain(mayServeOn: false)
            if !isIdle { isIdle = await old.endCalls() }
            await end(old, isIdle: isIdle)
            records[name]?.retiring.removeAll { $0.instance === old }
        }
        records[name]?.retiring.append(RetiringGeneration(instance: old, task: task))
    }

    private func end(_ old: Instance, isIdle: Bool) async {
        do throws(PluginError) {
            if isIdle { try await old.suspend() }
        } catch {
            logger.warning(
                "plugin failed to suspend", metadata: ["plugin": .string(old.manifest.name), "reason": .string(error.message)])
            return await discard(old, after: error)
        }
        // In this process calls that never end may still use what would be freed.
        if isIdle || old.code.isolation == .worker { return await old.code.end() }
        left(old.manifest.name, old.generation, .retained("calls that it serves have not ended"))
    }

    /// Generations of one plugin that may end their calls at once; the next replacement waits for the oldest.
    private static let mostRetiring = 4

    func waitForRetiring(_ name: String) async {
        guard let retiring = records[name]?.retiring, retiring.count >= Self.mostRetiring else { return }
        await retiring[0].task.value
    }

    /// Cuts the drains of the plugin's old generations short and waits for their end.
    func endRetiring(_ name: String) async {
        let retiring = records[name]?.retiring ?? []
        for generation in retiring { generation.task.cancel() }
        for generation in retiring { await generation.task.value }
    }

    // MARK: Seats

    /// The party for a new worker of the plugin: that of the running one, which the new one takes the place of; for a
    /// generation that serves beside it one that nobody uses, so that their calls are counted apart.
    func seat(for manifest: Manifest, _ name: String, overlapping: Bool) throws(PluginError) -> WorkerSeat {
        guard let record = records[name] else {
            throw PluginError(code: .notFound, message: "\(name) was removed meanwhile")
        }
        var taken = Set(record.retiring.map(\.instance.party.pointer))
        if let party = record.instance?.party.pointer {
            let own = record.seats.first { $0.party.pointer == party && $0.limits == manifest.limits }
            if !overlapping, let own { return own }
            taken.insert(party)
        }
        if let seat = record.seats.first(where: { $0.limits == manifest.limits && !taken.contains($0.party.pointer) }) {
            return seat
        }
        let bindings = BindingTable()
        let context = try makeContext(manifest, 0, record.isFirstParty, bindings)
        let seat = WorkerSeat(party: makeParty(manifest, context), bindings: bindings, limits: manifest.limits)
        records[name]?.seats.append(seat)
        return seat
    }
}

/// A generation that gets no more calls, and the task that ends it.
struct RetiringGeneration: Sendable {
    let instance: Instance
    let task: Task<Void, Never>
}

/// A party of a plugin that runs in workers: it stays while processes come and go, so that nothing grows with them.
struct WorkerSeat: Sendable {
    let party: Party
    let bindings: BindingTable
    /// The bulkhead and the circuit breaker that the party was made with.
    let limits: Limits
}
