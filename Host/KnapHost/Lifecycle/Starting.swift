import CKnap
import KnapCallEngine
import KnapJSON
import KnapPlugin
import Logging

/// Starting and stopping one plugin.
extension Host {
    /// Starts a plugin that does not run: `given`, or what its file holds. When that fails, what ran here before.
    func startPlugin(_ name: String, _ given: Artifact? = nil) async {
        guard !isStopping, records[name]?.instance == nil, let artifact = given ?? records[name]?.artifact else { return }
        let identity = "\(artifact.digest)"
        // What was planned may have been given up since, together with something that did not start.
        guard rejected[identity] == nil, choices.current.quarantine[identity] == nil else {
            return await startInstead(of: artifact, name)
        }
        do throws(PluginError) { try requireServices(of: artifact.manifest) } catch {
            records[name]?.change(to: .failed, error.message)
            return
        }
        records[name]?.change(to: .starting, "planned")
        do throws(PluginError) {
            try await start(artifact, name, noting: try await tryAnew(artifact, name))
            if let trial = replacements.standing(of: name).trial, trial.kind == .switched { await beginProbation(trial.changes) }
            if !isOnProbation(name) { await tellCommitted(name) }
        } catch {
            refuse(artifact, name, error.message)
            logger.error("plugin failed to start", metadata: ["plugin": .string(name), "reason": .string(error.message)])
            records[name]?.change(to: .failed, error.message)
            await returnFailedStart(of: artifact, name, error.message)
            await startInstead(of: artifact, name)
        }
    }

    private func start(_ artifact: Artifact, _ name: String, noting changes: [Change]) async throws(PluginError) {
        let instance = try await make(artifact, name)
        do throws(PluginError) {
            try await instance.prepare()
            try await instance.activate()
            let offer = try offer(of: instance)
            // Before it answers anybody; see Replacing.swift.
            try await record(changes.first?.from == nil ? .started : .switched, changes)
            publish(offer, instance, name, "started")
        } catch {
            await discard(instance, after: error)
            throw error
        }
    }

    private func startInstead(of artifact: Artifact, _ name: String) async {
        guard let record = records[name], record.instance == nil,
            let next = record.fallbacks.first(where: {
                $0.digest != artifact.digest && mayFallBack(to: $0, record, choices.current)
            })
        else { return }
        let reason = record.reason
        await startPlugin(name, next)
        if records[name]?.instance != nil {
            records[name]?.warnings = ["version \(artifact.manifest.version) does not start, \(next.manifest.version) runs: \(reason)"]
        }
    }

    /// Routes calls and contributions to an active instance.
    func serve(_ instance: Instance, _ name: String, _ reason: String) throws(PluginError) {
        publish(try offer(of: instance), instance, name, reason)
    }

    /// What an active instance offers. From here on its end is noticed.
    func offer(of instance: Instance) throws(PluginError) -> [ServiceDirectory.Offer] {
        let provisions = try instance.provisions()
        instance.code.serves(true)
        if let end = instance.code.ended { throw PluginError(code: .unavailable, message: end) }
        return provisions
    }

    func publish(_ provisions: [ServiceDirectory.Offer], _ instance: Instance, _ name: String, _ reason: String) {
        instance.party.limit(instance.manifest.limits)
        // A call that follows its route must never find nobody there: a party that calls wait for opens when they lead to
        // its new code, a new one before any leads to it.
        let isGated = instance.party.isGated
        if !isGated { instance.party.open() }
        services.publish(provisions, of: name)
        if isGated { instance.party.open() }
        records[name]?.instance = instance
        if let artifact = instance.artifact { records[name]?.serves(artifact) }
        contribute(instance.manifest, isFirstParty: records[name]?.isFirstParty ?? false)
        records[name]?.change(to: .active, reason)
        updateHooks()
        watchHealth(of: instance)
    }

    /// Ends an instance that never served, or no longer does.
    func discard(_ instance: Instance, after error: PluginError? = nil) async {
        // In this process a hook that never completed may still run: what it uses must not be freed.
        if instance.code.isolation == .worker || error?.code != .deadlineExceeded { return await instance.code.end() }
        left(instance.manifest.name, instance.generation, .retained("one of its hooks has not ended"))
    }

    /// This content is not tried again until it changes or the operator asks for it.
    func refuse(_ artifact: Artifact, _ name: String, _ reason: String) {
        rejected["\(artifact.digest)"] = reason
    }

    /// The services that the plugin cannot do without and that failed to start, although the plan had them.
    private func requireServices(of manifest: Manifest) throws(PluginError) {
        let there = Set(services.all().map(\.service))
        for requirement in manifest.requires where !there.contains(requirement.service) {
            throw PluginError(
                code: .failedPrecondition,
                message: "\(manifest.name) needs the service '\(requirement.service)', whose provider did not start")
        }
    }

    /// Loads a new generation and creates its instance; it serves nothing yet. `overlapping`: the one that runs goes on
    /// being called meanwhile.
    func make(_ artifact: Artifact, _ name: String, overlapping: Bool = false) async throws(PluginError) -> Instance {
        guard var record = records[name] else {
            throw PluginError(code: .notFound, message: "\(name) was removed meanwhile")
        }
        // Every way to run a content comes by here, whatever was planned and when.
        if let refusal = verdict(on: artifact, record).refusal {
            throw PluginError(code: .permissionDenied, message: "\(name) \(artifact.manifest.version) may not run: \(refusal)")
        }
        record.generation += 1
        let isolation = isolation(of: artifact, record)
        records[name] = record
        let seat = isolation == .worker ? try seat(for: artifact.manifest, name, overlapping: overlapping) : nil
        let context = try makeContext(
            artifact.manifest, record.generation, record.isFirstParty, seat?.bindings ?? BindingTable())
        let party = seat?.party ?? makeParty(artifact.manifest, context, generation: record.generation)
        let code: any PluginCode =
            switch (isolation, seat) {
            case (.inProcess, _), (_, nil): try await loadOrRetire(artifact, record, party)
            case (.worker, let seat?) where artifact.manifest.pool.maximum > 1: try await startPool(artifact, record, seat)
            case (.worker, _): try await startWorker(artifact, record, context, party)
            }
        let instance = Instance(
            artifact: artifact, manifest: artifact.manifest, generation: record.generation, context: context,
            party: party, code: code)
        do throws(PluginError) { try await instance.create() } catch {
            await code.end()
            throw error
        }
        return instance
    }

    /// `generation`: of its code in this process; 0: there is none.
    func makeParty(_ manifest: Manifest, _ context: InstanceContext, generation: Int = 0) -> Party {
        engine.makeParty(
            CallEngine.PartyOptions(
                name: manifest.name, generation: generation, limits: manifest.limits,
                assertsPrincipal: context.grants.assertsPrincipal), context: context)
    }

    private func loadOrRetire(
        _ artifact: Artifact, _ record: PluginRecord, _ party: Party
    ) async throws(PluginError) -> InProcessCode {
        do throws(PluginError) { return try await load(artifact, record, party) } catch {
            party.retire()  // no instance ever had its host pointer
            throw error
        }
    }

    private func load(
        _ artifact: Artifact, _ record: PluginRecord, _ party: Party
    ) async throws(PluginError) -> InProcessCode {
        if let refusal = LoadedImage.refusal(artifact, swiftBudget) {
            throw PluginError(code: .resourceExhausted, message: refusal)
        }
        let (users, directory, isFree) = (users, configuration.state.path + "/data/" + record.name, record.instance == nil)
        await onOwnThread { users.takeBack(directory, isFree: isFree) }
        let image = PluginImage(plugin: record.name, generation: record.generation, digest: "\(artifact.digest)")
        let library = try await withStored(artifact, record) { (path) throws(PluginError) in
            try image.during("load") { () throws(PluginError) in
                try party.within("load") {
                    Result { () throws(PluginError) in try LoadedLibrary.load(path, artifact, image) }
                }.get()
            }
        }
        let (name, generation) = (record.name, record.generation)
        return InProcessCode(
            library, party: party, image, reasonToStay: artifact.manifest.reasonToStay
        ) { [weak self] residence in
            Task { await self?.left(name, generation, residence) }
        }
    }

    /// Has `body` do something with what the store holds, which is checked just before and held open meanwhile. Only the
    /// host writes there: no worker can, and the directory is closed to other users.
    private func withStored<T: Sendable>(
        _ artifact: Artifact, _ record: PluginRecord, _ body: @escaping @Sendable (String) throws(PluginError) -> T
    ) async throws(PluginError) -> T {
        let (store, logger) = (store, logger)
        let result: Result<T, PluginError> = await onOwnThread {
            Result { () throws(PluginError) in
                let verified: VerifiedLibrary
                do throws(StoreError) { verified = try store.open(artifact, renewingFrom: record.source) } catch {
                    throw PluginError(code: .dataLoss, message: error.message)
                }
                if verified.wasRenewed {
                    logger.warning(
                        "copy in the store was damaged and is made anew",
                        metadata: ["plugin": .string(record.name), "file": .string(artifact.path)])
                }
                return try body(verified.path)
            }
        }
        return try result.get()
    }

    func startWorker(
        _ artifact: Artifact, _ record: PluginRecord, _ context: InstanceContext, _ party: Party, _ group: WorkerGroup? = nil
    ) async throws(PluginError) -> WorkerCode {
        guard let program = configuration.worker else {
            throw PluginError(code: .failedPrecondition, message: "there is no program for workers in this installation")
        }
        let user = try await withStored(artifact, record) { [users] path in
            users.user(of: artifact.manifest, library: path, directory: context.stateDirectory)
        }
        let options = WorkerOptions(
            artifact, program: program, context: context, environment: configuration.environment, watchdog: watchdogTime,
            demand: sandboxDemand, user: user, controlGroups: controlGroups)
        let (name, generation) = (record.name, record.generation)
        let (process, report) = try await WorkerProcess.start(
            options, manifest: artifact.manifest, context: context, party: party, engine: engine, group: group
        ) { [weak self] end in await self?.workerEnded(name, generation, end) }
        do { return try WorkerCode(process, report, artifact.manifest) } catch {
            process.kill()
            throw error
        }
    }

    func stopPlugin(_ name: String, _ reason: String) async {
        guard let instance = records[name]?.instance else {
            if records[name]?.state == .waiting { records[name]?.change(to: .stopped, reason) }
            return
        }
        records[name]?.change(to: .stopping, reason)
        registry.set([:], of: name)
        // Calls that come now wait for the end of those in flight, and are then told that nobody serves them.
        let gate = engine.closeGate(of: [instance.party])
        let isDrained = await instance.drain(mayServeOn: false)
        services.withdraw(plugin: name)
        records[name]?.instance = nil
        // Before it closes: a closed interceptor refuses what it cannot judge.
        updateHooks()
        instance.party.close()
        await onOwnThread { gate?.open() }
        await endRetiring(name)
        do throws(PluginError) {
            instance.code.serves(false)
            var isIdle = isDrained
            if !isIdle { isIdle = await instance.endCalls() }
            guard isIdle || instance.code.isolation == .worker else {
                throw PluginError(code: .deadlineExceeded, message: "calls were still in flight after \(instance.manifest.drainTimeout)")
            }
            try await instance.suspend()
            await instance.code.end()
            records[name]?.change(to: .stopped, reason)
        } catch {
            if instance.code.isolation == .worker { await instance.code.end() }
            records[name]?.change(to: .failed, error.message)
            logger.error("plugin failed to stop", metadata: ["plugin": .string(name), "reason": .string(error.message)])
        }
    }
}
