import CKnap
import Glibc
import KnapCallEngine
import KnapJSON
import KnapPlugin
import Logging
import Synchronization

/// The host: it takes plugins in, starts them in the order that their manifests demand, and stops them in reverse.
///
/// It knows manifests, dependencies, loading, lifecycle and calls, and nothing of what plugins do.
package actor Host {
    package nonisolated let configuration: HostConfiguration
    package nonisolated let configurationStore: ConfigurationStore
    package nonisolated let services: ServiceDirectory
    package nonisolated let registry = ContributionRegistry()
    nonisolated let engine = CallEngine()
    nonisolated let grants: GrantStore
    nonisolated let choices: OperatorChoices
    nonisolated let trust: TrustStore
    nonisolated let history: History
    nonisolated let feed = StateFeed()
    nonisolated let store: PluginStore
    nonisolated let descriptors = DescriptorStore()
    nonisolated let replacements: ReplacementLog
    nonisolated let checkpoints: Checkpoints
    nonisolated let crashLog: CrashLog
    nonisolated let watchdog: Watchdog
    nonisolated let logger: Logger
    private nonisolated let startedAt = wallClockMilliseconds()

    /// By name.
    var records: [String: PluginRecord] = [:]
    /// Files that are not plugins, by path.
    var refused: [String: String] = [:]
    /// The host's own service, which has no file.
    var ownService: Instance?
    var isStopping = false
    /// The settings `host.signatures`, `host.sandbox` and `host.watchdog_ms`.
    var signaturePolicy = SignaturePolicy.pinned
    var sandboxDemand = SandboxDemand.strict
    var watchdogTime = Duration.seconds(10)
    nonisolated let users: WorkerUsers
    nonisolated let controlGroups: ControlGroups
    /// The setting `host.interceptors`.
    var demandedInterceptors: Set<String> = []
    /// Why calls from outside are refused, as the engine was told last.
    var closedReason: String?
    /// Contents that failed to start, by digest, with the reason: not tried again by this host.
    var rejected: [String: String] = [:]
    /// Contents that ended as they may and are not started again by themselves, by digest, with the reason.
    var ended: [String: String] = [:]
    /// Why only plugins that ship with Knap start, and the others that start nevertheless.
    var safeMode: String?
    var freed: Set<String> = []
    /// Confinements that could not be written.
    var confinedHere: [String: String] = [:]
    var lastChange: Task<Void, Never>?
    var dropDirectories: DropDirectories?
    var operations = Operations()
    /// New contents that have yet to prove themselves.
    var probations: [Probation] = []

    /// Prepares a host; nothing runs yet.
    package init(_ configuration: HostConfiguration) throws {
        self.configuration = configuration
        configurationStore = try ConfigurationStore(
            directory: configuration.state.path, defaults: configuration.defaults, overrides: configuration.overrides,
            environment: configuration.environment)
        grants = try GrantStore(directory: configuration.state.path)
        choices = try OperatorChoices(directory: configuration.state.path)
        trust = try TrustStore(directory: configuration.state.path)
        history = try History(directory: configuration.state.path)
        replacements = try ReplacementLog(directory: configuration.state.path)
        checkpoints = Checkpoints(state: configuration.state.path)
        crashLog = CrashLog(directory: configuration.state.path)
        store = try PluginStore(directory: configuration.state.path + "/store")
        services = ServiceDirectory(engine: engine)
        var logger = Logger(label: "knap", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = configuration.logLevel
        self.logger = logger
        watchdog = Watchdog(logger: logger)
        users = WorkerUsers(state: configuration.state.path)
        controlGroups = ControlGroups(areWanted: configuration.makesControlGroups)
    }

    /// Starts the host's own service and then every plugin that can run. What cannot is reported, not thrown.
    package func start() async throws {
        try readOwnSettings()
        engine.watch(watchdog, hangAfter: watchdogTime)
        try await startOwnService()
        updateHooks()
        await change { [self] in
            await recoverReplacements()
            await takeAll()
            await learnFromLastEnd()
            // Learnt digests are only a cache.
            await onOwnThread { [store] in try? store.save() }
            await reconcile()
        }
        watchDropDirectories()
    }

    /// Stops plugins, dependants first.
    package func stop() async {
        isStopping = true
        // They go on when the plugins start again.
        for probation in probations { probation.task.cancel() }
        probations = []
        dropDirectories?.stop()
        await change { [self] in await reconcile() }
        await onOwnThread { [controlGroups] in controlGroups.remove() }
    }

    // MARK: Planning

    func planInput() -> PlanInput {
        var input = PlanInput()
        input.wanted = configuration.wanted.map { .only($0) } ?? .everything
        if isStopping { input.wanted = .only([]) }
        let choices = choices.current
        for record in records.values.sorted(by: { $0.name < $1.name }) {
            if let artifact = record.artifact { input.candidates.append(candidate(record, artifact, choices)) }
            if let instance = record.instance, let artifact = instance.artifact {
                var running = RunningPlugin(
                    manifest: instance.manifest, source: record.source, identity: "\(artifact.digest)")
                running.isBuiltIn = record.isFirstParty
                running.isolation = instance.code.isolation
                running.wantedIsolation = isolation(of: artifact, record)
                running.refusal = verdict(on: artifact, record).refusal
                input.running.append(running)
            }
        }
        return input
    }

    /// A content of a plugin as the planner sees it.
    func candidate(_ record: PluginRecord, _ artifact: Artifact, _ choices: OperatorChoices.Choices) -> Candidate {
        let identity = "\(artifact.digest)"
        var candidate = Candidate(manifest: artifact.manifest, source: record.source, identity: identity)
        candidate.isBuiltIn = record.isFirstParty
        candidate.isEnabled = !choices.disabled.contains(record.name)
        candidate.isolation = isolation(of: artifact, record)
        if artifact.manifest.permissions.observes || artifact.manifest.permissions.intercepts {
            // Every call of the host would have to wait for another process.
            candidate.manifest.isolations.removeAll { $0 == .worker }
        }
        let verdict = verdict(on: artifact, record, isNew: true)
        candidate.refusal = verdict.refusal
        candidate.missingGrants = record.isFirstParty ? [] : missingGrants(artifact, verdict)
        candidate.quarantine = choices.quarantine[identity] ?? rejected[identity]
        candidate.onHold = onHold(record)
        if record.instance == nil {
            candidate.ranLast = replacements.standing(of: record.name).serving(record.name)?.digest == artifact.digest
        }
        if record.instance == nil, candidate.onHold == nil {
            candidate.fallbacks = record.fallbacks.filter { mayFallBack(to: $0, record, choices) }.map {
                Fallback(manifest: $0.manifest, identity: "\($0.digest)")
            }
        }
        if let confinement = confinement(of: identity),
            configuration.worker == nil || !candidate.manifest.isolations.contains(.worker)
        {
            candidate.quarantine = confinement
        }
        return candidate
    }

    /// What a plugin asks for and was not granted, in words.
    func missingGrants(_ artifact: Artifact, _ verdict: SignatureVerdict) -> [String] {
        grants.missing(artifact.manifest, identity: "\(artifact.digest)", signers: verdict.fingerprints)
    }

    /// What the operator chose, unless that content crashed the host; else what ships with Knap runs in this process and
    /// what comes from elsewhere does not.
    func isolation(of artifact: Artifact, _ record: PluginRecord) -> Isolation {
        if configuration.worker != nil, confinement(of: "\(artifact.digest)") != nil { return .worker }
        if let chosen = choices.current.isolation[record.name] { return chosen }
        return record.isFirstParty || configuration.worker == nil ? .inProcess : .worker
    }

    /// Brings what runs to what should run: stops, then starts and replacements, each wave side by side.
    func reconcile() async {
        if !isStopping { await findFallbacks() }
        let plan = Planner.plan(planInput())
        for wave in plan.stops {
            await withTaskGroup(of: Void.self) { group in
                for step in wave {
                    guard case .stop(let reason) = step.action else { continue }
                    group.addTask { await self.stopPlugin(step.plugin, reason) }
                }
            }
        }
        if !isStopping { record(plan) }
        for wave in plan.starts {
            await withTaskGroup(of: Void.self) { group in
                for step in wave { group.addTask { await self.carryOut(step) } }
            }
        }
        await forgetRemoved()
        await rememberSigners()
        updateHooks()
    }

    private func carryOut(_ step: Step) async {
        let artifact = records[step.plugin]?.content(step.identity)
        guard case .replace(let old) = step.action, let artifact else { return await startPlugin(step.plugin, artifact) }
        let before = records[step.plugin]?.instance?.artifact
        let isMove = before?.digest == artifact.digest
        do throws(PluginError) {
            try await replace(
                step.plugin, with: artifact,
                isMove ? "moves to \(step.isolation.rawValue)" : "version \(old) is replaced by \(step.version)")
            if !isMove { await note("replace", step.plugin, before, .success("replaced")) }
        } catch {
            // What serves on must not be refused at the next change.
            if !isMove { refuse(artifact, step.plugin, error.message) }
            await note("replace", step.plugin, before, .failure(error))
        }
    }

    private func record(_ plan: Plan) {
        let starting = Set(plan.starts.joined().map(\.plugin))
        for omission in plan.omissions {
            // What runs, or will in a moment, does so without this.
            guard records[omission.plugin]?.instance == nil, !starting.contains(omission.plugin) else {
                records[omission.plugin]?.warnings = [omission.message]
                continue
            }
            // How it failed says more than that it is not tried again.
            if omission.code == .quarantined || omission.code == .onHold,
                [.failed, .stopped].contains(records[omission.plugin]?.state)
            { continue }
            records[omission.plugin]?.change(to: .resolved, omission.message)
            if omission.code.isProblem {
                logger.warning(
                    "plugin left out",
                    metadata: ["plugin": .string(omission.plugin), "reason": .string(omission.message)])
            }
        }
    }

    private func forgetRemoved() async {
        for (name, record) in records where record.artifact == nil && record.instance == nil {
            records[name] = nil
            let standing = replacements.standing(of: name)
            guard let content = standing.content ?? standing.change(of: name)?.to else { continue }
            await recordOrLog(.removed, [Change(name: name, to: content)])
            await discardCheckpoint(of: name)
        }
    }

    /// Changes of what runs, one after the other.
    @discardableResult
    func change<T: Sendable>(_ body: @escaping @Sendable () async -> T) async -> T {
        let earlier = lastChange
        let task = Task {
            await earlier?.value
            return await body()
        }
        lastChange = Task { _ = await task.value }
        return await task.value
    }

    func makeContext(
        _ manifest: Manifest, _ generation: Int, _ isFirstParty: Bool, _ bindings: BindingTable
    ) throws(PluginError) -> InstanceContext {
        let directory = configuration.state.path + "/data/" + manifest.name
        guard makeDirectory(directory) else {
            throw PluginError(code: .failedPrecondition, message: "\(directory) cannot be made: \(errorText(errno))")
        }
        let settings: JSONObject
        do { settings = try configurationStore.configuration(for: manifest) } catch {
            throw PluginError(code: .failedPrecondition, message: error.message)
        }
        var logger = logger
        logger[metadataKey: "plugin"] = .string(manifest.name)
        // What a foreign plugin asks for was granted, or the planner would have left it out.
        let asked = manifest.permissions
        let named = Set((manifest.requires + manifest.optional).map(\.service) + asked.services)
        return InstanceContext(
            plugin: manifest.name, generation: generation, logger: logger,
            configuration: Array(JSON.object(settings).serialized().utf8), stateDirectory: directory,
            grants: Grants(
                isFirstParty: isFirstParty, services: named, points: Set(manifest.points.map(\.name)),
                connect: asked.connect,
                assertsPrincipal: asked.assertsPrincipal, hostMethods: Set(asked.hostMethods.map { "host.\($0)" })),
            services: services, registry: registry, descriptors: descriptors, watchdog: watchdog, bindings: bindings)
    }

    // MARK: Contributions

    /// Checks what a plugin contributes against the schemas of the points' owners and hands it over; an item that does
    /// not fit is left out alone, with a warning.
    func contribute(_ manifest: Manifest, isFirstParty: Bool) {
        var contributions: [String: [ContributionRegistry.Entry]] = [:]
        for contribution in manifest.contributes {
            let problems = problems(of: contribution.items, at: contribution.point)
            for (index, item) in contribution.items.enumerated() {
                if let problem = problems[index] {
                    let place = "contributes.\(contribution.point)[\(index)]"
                    records[manifest.name]?.warnings.append("\(place) is left out: \(problem)")
                    logger.warning(
                        "contribution left out",
                        metadata: [
                            "plugin": .string(manifest.name), "item": .string(place), "reason": .string(problem),
                        ])
                    continue
                }
                contributions[contribution.point, default: []].append(
                    ContributionRegistry.Entry(
                        plugin: manifest.name, version: "\(manifest.version)", isFirstParty: isFirstParty, item: item,
                        method: item["method"]?.stringValue.flatMap { services.find($0)?.json }))
            }
        }
        registry.set(contributions, of: manifest.name)
    }

    /// What is wrong with each item by the schema of the point's owner; nil where it fits, or nobody has the point.
    func problems(of items: [JSON], at point: String) -> [String?] {
        let points = records.values.lazy.compactMap(\.artifact).flatMap(\.manifest.points)
        let schema = points.first { $0.name == point }.flatMap { try? Schema.compile($0.schema) }
        return items.map { schema?.validate($0).first?.message }
    }

    // MARK: The host's own service

    private func startOwnService() async throws {
        let manifest = try HostManifest.manifest()
        let context = try makeContext(manifest, 1, true, BindingTable())
        RunningHosts.add(self, serviceDirectory: context.stateDirectory)
        let table = exportPlugin(HostService.self)
        try LoadedLibrary.check(table, manifest)
        let party = engine.makeParty(CallEngine.PartyOptions(name: "host", limits: Limits(inFlight: 65_536)), context: context)
        let instance = Instance(
            artifact: nil, manifest: manifest, generation: 1, context: context, party: party,
            code: InProcessCode(LoadedLibrary(table: table), party: party, .host))
        try await instance.create()
        try await instance.prepare()
        try await instance.activate()
        let provisions = try instance.provisions()
        party.open()
        services.publish(provisions, of: "host")
        ownService = instance
    }

    /// A way into the host for calls from outside, such as the control socket: they are checked against the methods'
    /// schemas and made in the name of `name`.
    package nonisolated func entrance(named name: String) throws -> PluginHost {
        try PluginHost(makeEntrance(named: name, assertsPrincipal: true))
    }

    /// For a method's name that a person typed; see ``ServiceDirectory/requireKnown(_:)``.
    package nonisolated func requireKnown(_ method: String) throws(PluginError) { try services.requireKnown(method) }

    /// A way in for the host's own questions to plugins.
    package nonisolated func ownEntrance() throws -> PluginHost {
        try PluginHost(makeEntrance(named: "host", assertsPrincipal: false))
    }

    /// The same as a pointer of the ABI; without `assertsPrincipal` its calls are those of a plugin, unchecked.
    nonisolated func makeEntrance(named name: String, assertsPrincipal: Bool) -> UnsafePointer<knap_host_t> {
        let context = InstanceContext(
            plugin: name, generation: 1, logger: logger, configuration: Array("{}".utf8),
            stateDirectory: configuration.state.path,
            grants: Grants(isFirstParty: true, services: nil, assertsPrincipal: assertsPrincipal, hostMethods: []),
            services: services, registry: registry, descriptors: descriptors, watchdog: watchdog)
        return engine.makeParty(
            CallEngine.PartyOptions(name: name, assertsPrincipal: assertsPrincipal), context: context
        ).host
    }
}

/// The hosts of this process, for the one lookup that crosses the ABI: a host's own service finds its host.
enum RunningHosts {
    private static let hosts = Mutex<[String: Host]>([:])

    static func add(_ host: Host, serviceDirectory: String) { hosts.withLock { $0[serviceDirectory] = host } }
    static func host(serviceDirectory: String) -> Host? { hosts.withLock { $0[serviceDirectory] } }
}
