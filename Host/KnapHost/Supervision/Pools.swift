import KnapCallEngine
import KnapPlugin
import Logging

/// Pools: starting one, changing its size, and replacing a worker that ended while others of it serve.
extension Host {
    /// Starts the workers of a plugin that has a pool: as many as serve now, so that a reload under load makes no queue.
    func startPool(_ artifact: Artifact, _ record: PluginRecord, _ seat: WorkerSeat) async throws(PluginError) -> WorkerPool {
        let manifest = artifact.manifest
        let serving = (record.instance?.code as? WorkerPool)?.count ?? 0
        let (name, generation) = (record.name, record.generation)
        return try await WorkerPool(
            manifest.pool, count: max(manifest.pool.minimum, min(serving, manifest.pool.maximum)), engine: engine, party: seat.party,
            start: { [weak self] group throws(PluginError) in
                guard let self else { throw PluginError(code: .unavailable, message: "the host ends") }
                return try await startMember(artifact, record, seat, group)
            }, resize: { [weak self] change in await self?.resize(name, generation, change) ?? false })
    }

    private func startMember(
        _ artifact: Artifact, _ record: PluginRecord, _ seat: WorkerSeat, _ group: WorkerGroup
    ) async throws(PluginError) -> WorkerCode {
        let context = try makeContext(artifact.manifest, record.generation, record.isFirstParty, seat.bindings)
        return try await startWorker(artifact, record, context, seat.party, group)
    }

    // MARK: Size

    private func resize(_ name: String, _ generation: Int, _ wanted: PoolScaling.Change) async -> Bool {
        await change { [self] in await resizeNow(name, generation, wanted) }
    }

    private func resizeNow(_ name: String, _ generation: Int, _ wanted: PoolScaling.Change) async -> Bool {
        guard !isStopping, let instance = servingPool(name, generation), let pool = instance.code as? WorkerPool else { return false }
        switch wanted {
        case .recalled: note(name, pool, "calls waited at all of them; one that was about to end goes on")
        case .removeDrained:
            guard await pool.removeDrained(instance.manifest) else { return false }
            note(name, pool, "one fewer was enough for \(pool.bounds.shrinkAfter)")
        case .grow:
            guard pool.count < pool.bounds.maximum else { return false }
            do throws(PluginError) { try await pool.add(instance.manifest, isReplacement: false) } catch {
                logger.warning("pool cannot grow", metadata: ["plugin": .string(name), "reason": .string(error.message)])
                note(name, pool, "one more did not start: \(error.message)")
                return false
            }
            note(name, pool, "calls waited at all of them for \(pool.bounds.growAfter)")
        }
        return true
    }

    private func servingPool(_ name: String, _ generation: Int) -> Instance? {
        guard let instance = records[name]?.instance, instance.generation == generation, instance.code.ended == nil else {
            return nil
        }
        return instance
    }

    private func note(_ name: String, _ pool: WorkerPool, _ reason: String) {
        records[name]?.change(to: .active, "\(pool.count) \(pool.count == 1 ? "worker" : "workers"): \(reason)")
    }

    // MARK: Supervision

    /// What happens when one of several workers ended: its calls went to the others, and another takes its place.
    func replaceWorker(_ name: String, _ instance: Instance, _ end: WorkerEnd) async {
        let reason = end.reason
        // When the last one ended meanwhile, its own end leads to a restart.
        guard let pool = instance.code as? WorkerPool, pool.ended == nil else { return }
        logger.error("a worker ended", metadata: ["plugin": .string(name), "reason": .string(reason)])
        note(name, pool, "one ended: \(reason)")
        if !isStopping, let probation = probation(of: name),
            probation.changes.contains(where: { $0.name == name && $0.to.digest == instance.artifact?.digest })
        {
            await giveBack(probation.changes, .failed("\(name): \(reason)"))
            return await reconcile()
        }
        let policy = instance.manifest.restart
        if isStopping { return }
        let now = ContinuousClock.now
        let recent = (records[name]?.restarts ?? []).filter { now - $0 < policy.period }
        records[name]?.restarts = recent + [now]
        let delay: Duration
        switch policy.decision(isOrderly: end.isOrderly, recent: recent.count) {
        case .restart(let wait): delay = wait
        case .rest: return
        case .giveUp:
            return await giveUp(name, instance, "its workers ended \(recent.count + 1) times within \(policy.period); the last time \(reason)")
        }
        if delay == .zero { return await addReplacement(name, instance.generation, reason) }
        Task {
            try? await Task.sleep(for: delay)
            await change { [self] in await addReplacement(name, instance.generation, reason) }
        }
    }

    private func addReplacement(_ name: String, _ generation: Int, _ reason: String) async {
        guard !isStopping, let instance = servingPool(name, generation), let pool = instance.code as? WorkerPool,
            pool.count < pool.wanted
        else { return }
        do throws(PluginError) {
            try await pool.add(instance.manifest, isReplacement: true)
            note(name, pool, "one was replaced after \(reason)")
        } catch {
            await replaceWorker(name, instance, WorkerEnd(reason: "its replacement failed: \(error.message)", isWanted: false))
        }
    }

    private func giveUp(_ name: String, _ instance: Instance, _ reason: String) async {
        if let artifact = instance.artifact { quarantine("\(artifact.digest)", name, reason) }
        await stopPlugin(name, reason)
        records[name]?.change(to: .failed, "in quarantine: \(reason); 'knap plugins release \(name)' tries it again")
        await reconcile()
    }
}
