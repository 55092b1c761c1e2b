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
    nonisolated let store: PluginStore
    nonisolated let descriptors = DescriptorStore()
    nonisolated let logger: Logger
    private nonisolated let startedAt = wallClockMilliseconds()

    /// By name.
    var records: [String: PluginRecord] = [:]
    /// Files that are not plugins, by path.
    var refused: [String: String] = [:]
    /// The host's own service, which has no file.
    private var ownService: Instance?
    private var stopping = false

    /// Prepares a host; nothing runs yet.
    package init(_ configuration: HostConfiguration) throws {
        self.configuration = configuration
        configurationStore = try ConfigurationStore(
            directory: configuration.state.path, overrides: configuration.overrides,
            environment: configuration.environment)
        grants = try GrantStore(directory: configuration.state.path)
        store = try PluginStore(directory: configuration.state.path + "/store")
        services = ServiceDirectory(engine: engine)
        var logger = Logger(label: "knap", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = configuration.logLevel
        self.logger = logger
    }

    /// Starts the host's own service and then every plugin that can run. What cannot is reported, not thrown.
    package func start() async throws {
        try await startOwnService()
        await discover()
        // Learnt digests are only a cache.
        await onOwnThread { [store] in try? store.save() }
        let plan = planner()
        record(plan.omissions)
        for wave in plan.starts {
            await withTaskGroup(of: Void.self) { group in
                for step in wave { group.addTask { await self.startPlugin(step.plugin) } }
            }
        }
    }

    /// Stops plugins, dependants first.
    package func stop() async {
        stopping = true
        var input = planInput()
        input.wanted = .only([])
        for wave in Planner.plan(input).stops {
            await withTaskGroup(of: Void.self) { group in
                for step in wave { group.addTask { await self.stopPlugin(step.plugin, "the host stops") } }
            }
        }
    }

    // MARK: Discovery

    /// Reads what is in the installation and in the drop directories; broken files are remembered with the reason.
    private func discover() async {
        let directories =
            [configuration.builtInPlugins].compactMap { $0 }.map { ($0, true) }
            + ([configuration.state.plugins] + configuration.pluginDirectories).map { ($0, false) }
        let store = store
        for (directory, isFirstParty) in directories {
            let taken = await onOwnThread {
                sharedObjects(in: directory).map { path in (path, Result { try store.take(path) }) }
            }
            for (path, result) in taken {
                switch result {
                case .success(let artifact): add(artifact, from: path, isFirstParty: isFirstParty)
                case .failure(let error):
                    refused[path] = "\(error)"
                    logger.warning("file refused", metadata: ["file": .string(path), "reason": "\(error)"])
                }
            }
        }
    }

    private func add(_ artifact: Artifact, from path: String, isFirstParty: Bool) {
        let name = artifact.manifest.name
        if let other = records[name] {
            refused[path] = "a plugin '\(name)' is already there: \(other.source); remove one of the two"
            logger.warning("file refused", metadata: ["file": .string(path), "reason": .string(refused[path] ?? "")])
            return
        }
        var record = PluginRecord(name: name, source: path, isFirstParty: isFirstParty)
        record.artifact = artifact
        record.warnings = artifact.warnings
        record.change(to: .resolved, "found")
        records[name] = record
    }

    // MARK: Planning

    func planInput() -> PlanInput {
        var input = PlanInput()
        input.wanted = configuration.wanted.map { .only($0) } ?? .everything
        for record in records.values.sorted(by: { $0.name < $1.name }) {
            guard let artifact = record.artifact else { continue }
            var candidate = Candidate(manifest: artifact.manifest, source: record.source, identity: "\(artifact.digest)")
            candidate.isBuiltIn = record.isFirstParty
            // Until there are workers, all that runs runs in this process.
            candidate.isolation = .inProcess
            candidate.missingGrants =
                record.isFirstParty ? [] : grants.missing(artifact.manifest, identity: "\(artifact.digest)")
            input.candidates.append(candidate)
            if record.state == .active {
                var running = RunningPlugin(
                    manifest: artifact.manifest, source: record.source, identity: "\(artifact.digest)")
                running.isBuiltIn = record.isFirstParty
                running.isolation = .inProcess
                input.running.append(running)
            }
        }
        return input
    }

    private func planner() -> Plan { Planner.plan(planInput()) }

    private func record(_ omissions: [Omission]) {
        for omission in omissions {
            records[omission.plugin]?.change(to: .resolved, omission.message)
            if omission.code.isProblem {
                logger.warning(
                    "plugin left out",
                    metadata: ["plugin": .string(omission.plugin), "reason": .string(omission.message)])
            }
        }
    }

    // MARK: Lifecycle

    private func startPlugin(_ name: String) async {
        guard !stopping, var record = records[name], let artifact = record.artifact else { return }
        record.generation += 1
        record.change(to: .starting, "planned")
        records[name] = record
        do throws(PluginError) {
            try requireServices(of: artifact.manifest)
            let instance = try await makeInstance(artifact, record)
            records[name]?.instance = instance
            try await instance.prepare()
            try await instance.activate()
            services.publish(try instance.provisions())
            contribute(artifact.manifest, isFirstParty: record.isFirstParty)
            records[name]?.change(to: .active, "started")
            updateHooks()
        } catch {
            await fail(name, error)
        }
    }

    private func fail(_ name: String, _ error: PluginError) async {
        logger.error("plugin failed to start", metadata: ["plugin": .string(name), "reason": .string(error.message)])
        records[name]?.change(to: .failed, error.message)
        guard let instance = records[name]?.instance else { return }
        records[name]?.instance = nil
        instance.party.close()
        services.withdraw(plugin: name)
        registry.set([:], of: name)
        // A hook that never completed may still run: what it uses must not be freed.
        if error.code != .deadlineExceeded { await onOwnThread { instance.destroy() } }
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

    private func makeInstance(_ artifact: Artifact, _ record: PluginRecord) async throws(PluginError) -> Instance {
        let manifest = artifact.manifest
        let context = try makeContext(manifest, generation: record.generation, isFirstParty: record.isFirstParty)
        let (engine, generation, store) = (engine, record.generation, store)
        let made: Result<Instance, PluginError> = await onOwnThread {
            Result { () throws(PluginError) in
                let library: LoadedLibrary
                do {
                    // Held open while it is loaded, so that what was checked is what is loaded.
                    let verified = try store.open(artifact)
                    library = try LoadedLibrary.load(verified.path, manifest: manifest)
                } catch let error as StoreError {
                    throw PluginError(code: .dataLoss, message: "\(error)")
                } catch let error as PluginError {
                    throw error
                } catch {
                    throw PluginError(code: .internal, message: "\(error)")
                }
                return try Instance.create(
                    library, manifest: manifest, generation: generation, context: context, engine: engine)
            }
        }
        return try made.get()
    }

    private func makeContext(
        _ manifest: Manifest, generation: Int, isFirstParty: Bool
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
            services: services, registry: registry, descriptors: descriptors)
    }

    private func stopPlugin(_ name: String, _ reason: String) async {
        guard let instance = records[name]?.instance else { return }
        records[name]?.change(to: .stopping, reason)
        registry.set([:], of: name)
        services.withdraw(plugin: name)
        do throws(PluginError) {
            try await instance.suspend()
            await onOwnThread { instance.destroy() }
            records[name]?.change(to: .stopped, reason)
        } catch {
            records[name]?.change(to: .failed, error.message)
            logger.error(
                "plugin failed to stop", metadata: ["plugin": .string(name), "reason": .string(error.message)])
        }
        records[name]?.instance = nil
        updateHooks()
    }

    /// Tells the engine who observes and intercepts, in the order of names.
    private func updateHooks() {
        engine.setHooks(
            records.values.filter { $0.state == .active }.sorted { $0.name < $1.name }.compactMap(\.instance?.hooked))
    }

    // MARK: Contributions

    /// Checks what a plugin contributes against the schemas of the points' owners and hands it over; an item that does
    /// not fit is left out alone, with a warning.
    private func contribute(_ manifest: Manifest, isFirstParty: Bool) {
        let points = Dictionary(
            records.values.compactMap(\.artifact).flatMap(\.manifest.points).map { ($0.name, $0.schema) }
        ) { first, _ in first }
        var contributions: [String: [ContributionRegistry.Entry]] = [:]
        for contribution in manifest.contributes {
            let schema = points[contribution.point].flatMap { try? Schema.compile($0) }
            for (index, item) in contribution.items.enumerated() {
                if let problem = schema?.validate(item).first?.message {
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

    // MARK: The host's own service

    private func startOwnService() async throws {
        let manifest = try HostManifest.manifest()
        let context = try makeContext(manifest, generation: 1, isFirstParty: true)
        RunningHosts.add(self, serviceDirectory: context.stateDirectory)
        let table = exportPlugin(HostService.self)
        try LoadedLibrary.check(table, manifest)
        let instance = try Instance.create(
            LoadedLibrary(table: table), manifest: manifest, generation: 1, context: context, engine: engine)
        try await instance.prepare()
        try await instance.activate()
        services.publish(try instance.provisions())
        ownService = instance
    }

    /// A way into the host for calls from outside, such as the control socket: they are checked against the methods'
    /// schemas and made in the name of `name`.
    package nonisolated func entrance(named name: String) throws -> PluginHost {
        let context = InstanceContext(
            plugin: name, generation: 1, logger: logger, configuration: Array("{}".utf8),
            stateDirectory: configuration.state.path,
            grants: Grants(isFirstParty: true, services: nil, assertsPrincipal: true, hostMethods: []),
            services: services, registry: registry, descriptors: descriptors)
        let party = engine.makeParty(CallEngine.PartyOptions(name: name, assertsPrincipal: true), context: context)
        return try PluginHost(party.host)
    }
}

/// The hosts of this process, for the one lookup that crosses the ABI: a host's own service finds its host.
enum RunningHosts {
    private static let hosts = Mutex<[String: Host]>([:])

    static func add(_ host: Host, serviceDirectory: String) { hosts.withLock { $0[serviceDirectory] = host } }
    static func host(serviceDirectory: String) -> Host? { hosts.withLock { $0[serviceDirectory] } }
}

/// The shared objects directly in a directory, sorted; none when there is no such directory.
private func sharedObjects(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var paths: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name.hasSuffix(".so"), !name.hasPrefix(".") { paths.append(directory + "/" + name) }
    }
    return paths.sorted()
}
