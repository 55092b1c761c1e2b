import KnapCallEngine
import KnapJSON

/// All that the host knows of one plugin: where it comes from, what it is, what became of it.
struct PluginRecord: Sendable {
    var name: String
    /// The file in the drop directory or the installation.
    var source: String
    var isFirstParty: Bool
    /// What should run: the newest content of the file. None once the file is gone.
    var artifact: Artifact?
    /// What runs.
    var instance: Instance?
    /// What may be started when that cannot: what last ran here, best first. From the journal, at the host's start.
    var fallbacks: [Artifact] = []
    /// Who signed the content that served last, in whichever file it came: it may come again without a signature.
    private var served: (content: Digest, signers: [PublicKey])?
    var generation = 0
    /// The parties of its workers; see ``Host/seat(for:_:overlapping:)``.
    var seats: [WorkerSeat] = []
    /// Generations that serve no more and end their calls, oldest first.
    var retiring: [RetiringGeneration] = []
    /// The last generation that ended in this process, and what became of its code.
    var left: (generation: Int, residence: Residence)?
    /// Restarts within the policy's period, oldest first.
    var restarts: [ContinuousClock.Instant] = []
    /// How the last of its processes that nobody had told to end did so.
    var lastEnd: (reason: String, timeMS: Int64)?
    /// What it said when it was last asked for its health, in words.
    var health: String?
    /// Newest last; bounded.
    private(set) var history: [StateChange] = []
    /// What is wrong with its contributions or its file, without keeping it from running.
    var warnings: [String] = []

    private let feed: StateFeed

    init(name: String, source: String, isFirstParty: Bool, feed: StateFeed) {
        self.feed = feed
        self.name = name
        self.source = source
        self.isFirstParty = isFirstParty
    }

    /// Of what could run, the one with this identity.
    func content(_ identity: String) -> Artifact? {
        ([artifact, instance?.artifact].compactMap { $0 } + fallbacks).first { "\($0.digest)" == identity }
    }

    var state: PluginState { history.last?.state ?? .resolved }
    var reason: String { history.last?.reason ?? "" }

    mutating func serves(_ artifact: Artifact) { served = (artifact.digest, signers(of: artifact)) }

    /// A file with this content was found.
    mutating func found(_ artifact: Artifact) {
        if served?.content == artifact.digest { serves(artifact) }
    }

    func signers(of artifact: Artifact) -> [PublicKey] {
        guard let served, served.content == artifact.digest else { return artifact.signers }
        return artifact.signers + served.signers.filter { !artifact.signers.contains($0) }
    }

    mutating func change(to state: PluginState, _ reason: String) {
        if state == self.state, reason == self.reason { return }
        let change = StateChange(state: state, reason: reason, time: wallClockMilliseconds())
        feed.tell(name, change)
        history.append(change)
        if history.count > 100 { history.removeFirst() }
    }
}

extension PluginRecord {
    /// One line of `knap plugins list`.
    var summary: JSON {
        var object: JSONObject = [
            "name": .string(name), "state": .string(state.rawValue), "reason": .string(reason),
            "first_party": .bool(isFirstParty), "source": .string(source),
        ]
        if let manifest = instance?.manifest ?? artifact?.manifest {
            object["version"] = .string("\(manifest.version)")
            object["description"] = .string(manifest.description)
            object["services"] = .array(manifest.provides.map { .string($0.service) })
        }
        if let time = history.last?.time { object["since_ms"] = .number(JSONNumber(time)) }
        if let instance {
            object["generation"] = .number(JSONNumber(instance.generation))
            object["isolation"] = .string(instance.code.isolation.rawValue)
            object["workers"] = .number(JSONNumber(instance.code.workers))
            object["calls"] = instance.party.json
        }
        return .object(object)
    }

    /// `knap plugins info`.
    var details: JSON {
        guard var object = summary.objectValue else { return summary }
        object["history"] = .array(
            history.map {
                [
                    "state": .string($0.state.rawValue), "reason": .string($0.reason),
                    "time_ms": .number(JSONNumber($0.time)),
                ]
            })
        if let left { object["left"] = ["generation": .number(JSONNumber(left.generation)), "code": .string(left.residence.description)] }
        if let health { object["health"] = .string(health) }
        if let lastEnd { object["last_end"] = .string("\(dateText(milliseconds: lastEnd.timeMS)): \(lastEnd.reason)") }
        object["warnings"] = .array(warnings.map { .string($0) })
        if let instance, instance.code.isolation == .inProcess, instance.manifest.pool.maximum > 1 {
            object["pool"] = "one instance serves, because it runs in the host's process"
        }
        for (name, value) in instance?.code.details ?? [] { object[name] = value }
        if let artifact = instance?.artifact ?? artifact {
            object["digest"] = .string("\(artifact.digest)")
            object["asks"] = .array(artifact.manifest.permissions.requests.map { .string($0) })
            object["methods"] = .array(
                artifact.manifest.provides.flatMap { service in
                    service.methods.map { $0.json(fullName: "\(service.service).\($0.name)") }
                })
        }
        return .object(object)
    }
}
