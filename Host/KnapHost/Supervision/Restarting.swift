import KnapCallEngine
import KnapPlugin
import Logging

/// What happens when a plugin's process ends without being told to, after Erlang/OTP's supervisors.
extension Host {
    func workerEnded(_ name: String, _ generation: Int, _ end: WorkerEnd) async {
        if end.isWanted { return }
        await change { [self] in await recover(name, generation, end) }
    }

    private func recover(_ name: String, _ generation: Int, _ end: WorkerEnd) async {
        guard let instance = records[name]?.instance, instance.generation == generation, let artifact = instance.artifact
        else { return await onOwnThread { end.gate?.open() } }
        records[name]?.lastEnd = (end.reason, wallClockMilliseconds())
        if end.othersServe { return await replaceWorker(name, instance, end) }
        if let pool = instance.code as? WorkerPool { await pool.end() }  // whose last worker this was
        logger.error("plugin ended", metadata: ["plugin": .string(name), "reason": .string(end.reason)])
        records[name]?.change(to: .failed, end.reason)
        records[name]?.instance = nil
        if !isStopping, let probation = probation(of: name), probation.changes.contains(where: { $0.name == name && $0.to.digest == artifact.digest }) {
            await giveBack(probation.changes, .failed("\(name): \(end.reason)"), ended: instance, gate: end.gate)
            return await reconcile()
        }
        let policy = instance.manifest.restart
        let now = ContinuousClock.now
        let recent = (records[name]?.restarts ?? []).filter { now - $0 < policy.period }
        records[name]?.restarts = recent + [now]
        if isStopping { return await letGo(name, instance, end.gate) }
        let delay: Duration
        switch policy.decision(isOrderly: end.isOrderly, recent: recent.count) {
        case .restart(let wait): delay = wait
        case .rest:
            let reason = "\(end.reason), and is not started again, because it is \(policy.kind.rawValue); 'knap plugins release \(name)' does"
            ended["\(artifact.digest)"] = reason
            await letGo(name, instance, end.gate)
            records[name]?.change(to: end.isOrderly ? .stopped : .failed, reason)
            return await reconcile()
        case .giveUp:
            let reason = "it ended \(recent.count + 1) times within \(policy.period); the last time \(end.reason)"
            quarantine("\(artifact.digest)", name, reason)
            await letGo(name, instance, end.gate)
            records[name]?.change(to: .failed, "in quarantine: \(reason); 'knap plugins release \(name)' tries it again")
            return await reconcile()
        }
        if delay <= Self.longestWait {
            // Calls wait meanwhile, their deadlines running.
            if delay > .zero { try? await Task.sleep(for: delay) }
            return await restart(name, artifact, instance, end.gate, end.reason)
        }
        await letGo(name, instance, end.gate)
        records[name]?.change(to: .waiting, "\(end.reason); started again in \(delay)")
        Task {
            try? await Task.sleep(for: delay)
            await change { [self] in await restartIfWaiting(name, artifact, instance, end.reason) }
        }
    }

    /// How long calls may be held back for a restart instead of being told that nobody serves them.
    private static let longestWait = Duration.milliseconds(250)

    private func restartIfWaiting(_ name: String, _ artifact: Artifact, _ old: Instance, _ reason: String) async {
        if records[name]?.state == .waiting { await restart(name, artifact, old, nil, reason) }
    }

    /// Starts the same content again, from its durable state. Calls wait at the gate meanwhile.
    private func restart(_ name: String, _ artifact: Artifact, _ old: Instance, _ gate: Gate?, _ reason: String) async {
        do throws(PluginError) {
            records[name]?.change(to: .starting, "restarted after \(reason)")
            let instance = try await make(artifact, name)
            do throws(PluginError) {
                try await instance.prepare()
                try await instance.activate()
                try serve(instance, name, "restarted after \(reason)")
            } catch {
                await discard(instance, after: error)
                throw error
            }
            await onOwnThread { gate?.open() }
            if !isOnProbation(name) { await tellCommitted(name) }
            if old.manifest.restart.scope == .dependants { await restartDependants(of: name) }
        } catch {
            logger.error("plugin failed to restart", metadata: ["plugin": .string(name), "reason": .string(error.message)])
            records[name]?.change(to: .failed, error.message)
            refuse(artifact, name, error.message)
            await letGo(name, old, gate)
            await reconcile()
        }
    }

    /// Nobody serves what it served, until it runs again.
    func letGo(_ name: String, _ instance: Instance, _ gate: Gate?) async {
        registry.set([:], of: name)
        services.withdraw(plugin: name)
        instance.party.close()
        updateHooks()
        await onOwnThread { gate?.open() }
    }

    private func restartDependants(of name: String) async {
        let services = Set(records[name]?.instance?.manifest.provides.map(\.service) ?? [])
        let dependants = records.values.filter { record in
            record.instance?.manifest.requires.contains { services.contains($0.service) } ?? false
        }
        for dependant in dependants.sorted(by: { $0.name < $1.name }) where dependant.name != name {
            await stopPlugin(dependant.name, "\(name), which it requires, was restarted")
            await startPlugin(dependant.name, dependant.instance?.artifact)
        }
    }

    func quarantine(_ digest: String, _ name: String, _ reason: String) {
        do { try choices.change { $0.quarantine[digest] = reason } } catch {
            rejected[digest] = reason
            logger.error("quarantine not written", metadata: ["plugin": .string(name), "reason": "\(error)"])
        }
    }

    func unquarantine(_ digest: String) {
        rejected[digest] = nil
        do { try choices.change { $0.quarantine[digest] = nil } } catch {
            logger.error("quarantine not written", metadata: ["content": .string(digest), "reason": "\(error)"])
        }
    }
}
