import KnapJSON

/// A content of a plugin, and the revision of the durable state that it writes.
struct Content: Sendable, Equatable {
    var digest: Digest
    var schema: Int

    init(digest: Digest, schema: Int) {
        self.digest = digest
        self.schema = schema
    }

    init(_ artifact: Artifact) { self.init(digest: artifact.digest, schema: artifact.manifest.stateSchema) }
}

/// One plugin's part in a replacement.
struct Change: Sendable, Equatable {
    var name: String
    /// What a return leads to; none for a plugin that ran nothing before.
    var from: Content?
    var to: Content
    /// The state directory was copied before the new content could touch it.
    var hasCheckpoint = false
    /// The file in the drop directory that is to hold the new content.
    var file: String?
}

/// One entry of the journal of replacements: how far the replacement of these plugins, all together, has come.
///
///     replacing → switching → switched → committed
///         │           │           │
///         └───────────┴──────→ returning → ended
struct ReplacementStep: Sendable, Equatable {
    enum Kind: String, Sendable, CaseIterable {
        /// It runs, and nothing ran before it.
        case started
        /// The new ones are being made; nothing of theirs counts.
        case replacing
        /// From here on they may write the plugins' state directories; where needed there is a copy.
        case switching
        /// The new ones serve, on probation.
        case switched
        /// They stand.
        case committed
        /// The old ones come back; copies are being put in place.
        case returning
        /// The old ones run, or may.
        case ended
        /// The plugin is gone.
        case removed
    }

    var kind: Kind
    /// Providers before those that require them.
    var changes: [Change]
}

/// What the journal says of one plugin.
struct Standing: Sendable, Equatable {
    /// What runs for good.
    var content: Content?
    /// What ran for good before it.
    var previous: Content?
    /// The last step of a replacement that has not come to its end.
    var trial: ReplacementStep?

    func change(of name: String) -> Change? { trial?.changes.first { $0.name == name } }

    /// What last served, on probation or for good.
    func serving(_ name: String) -> Content? {
        if let trial, trial.kind == .switched, let change = change(of: name) { return change.to }
        return content
    }
}

/// What the journal says of all plugins.
struct Standings: Sendable, Equatable {
    private(set) var byName: [String: Standing] = [:]

    mutating func apply(_ step: ReplacementStep) {
        for change in step.changes {
            var standing = byName[change.name] ?? Standing()
            switch step.kind {
            case .started, .committed:
                if let before = standing.content, before.digest != change.to.digest { standing.previous = before }
                standing.content = change.to
                standing.trial = nil
            case .replacing, .switching, .switched, .returning:
                standing.content = standing.content ?? change.from
                standing.trial = step
            case .ended: standing.trial = nil
            case .removed:
                byName[change.name] = nil
                continue
            }
            byName[change.name] = standing
        }
    }

    /// Replacements that have not come to their end, each once.
    var trials: [ReplacementStep] {
        var found: [ReplacementStep] = []
        for (_, standing) in byName.sorted(by: { $0.key < $1.key }) {
            if let trial = standing.trial, !found.contains(trial) { found.append(trial) }
        }
        return found
    }

    /// The shortest journal that says the same.
    var steps: [ReplacementStep] {
        byName.sorted { $0.key < $1.key }.flatMap { name, standing in
            [standing.previous, standing.content].compactMap { $0 }.map {
                ReplacementStep(kind: .started, changes: [Change(name: name, to: $0)])
            }
        } + trials
    }
}

// MARK: As JSON

extension ReplacementStep {
    var json: JSON {
        ["step": .string(kind.rawValue), "plugins": .array(changes.map(\.json))]
    }

    init?(_ json: JSON) {
        guard let kind = json["step"]?.stringValue.flatMap(Kind.init(rawValue:)), let plugins = json["plugins"]?.arrayValue
        else { return nil }
        let changes = plugins.compactMap(Change.init)
        guard changes.count == plugins.count, !changes.isEmpty else { return nil }
        self.init(kind: kind, changes: changes)
    }
}

extension Change {
    fileprivate var json: JSON {
        var object: JSONObject = ["name": .string(name), "to": to.json]
        if let from { object["from"] = from.json }
        if hasCheckpoint { object["checkpoint"] = true }
        if let file { object["file"] = .string(file) }
        return .object(object)
    }

    fileprivate init?(_ json: JSON) {
        guard let name = json["name"]?.stringValue, let to = json["to"].flatMap(Content.init) else { return nil }
        self.init(
            name: name, from: json["from"].flatMap(Content.init), to: to, hasCheckpoint: json["checkpoint"] == true,
            file: json["file"]?.stringValue)
    }
}

extension Content {
    fileprivate var json: JSON { ["digest": .string("\(digest)"), "schema": .number(JSONNumber(schema))] }

    fileprivate init?(_ json: JSON) {
        guard let digest = json["digest"]?.stringValue.flatMap(Digest.init), let schema = json["schema"]?.intValue else {
            return nil
        }
        self.init(digest: digest, schema: schema)
    }
}
