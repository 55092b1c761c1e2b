import Testing

@testable import KnapHost

/// Candidates in few words: `plugin("a", needs: ["s ^1"], offers: ["t 1.0.0", "u 1.0.0 fallback"])`.
func plugin(
    _ name: String, _ version: String = "1.0.0", needs: [String] = [], uses: [String] = [], offers: [String] = [],
    conflicts: [String] = [], source: String? = nil, change: (inout Candidate) -> Void = { _ in }
) throws -> Candidate {
    var manifest = Manifest(name: name, version: try Version(version))
    manifest.requires = try needs.map(requirement)
    manifest.optional = try uses.map(requirement)
    manifest.provides = try offers.map { text in
        let parts = text.split(separator: " ")
        return ProvidedService(
            service: String(parts[0]), version: try Version(String(parts[1])), isFallback: parts.last == "fallback", methods: [])
    }
    manifest.conflicts = conflicts
    let file = source ?? "\(name).so"
    var candidate = Candidate(manifest: manifest, source: file, identity: "\(name)-\(version)-\(file)")
    change(&candidate)
    return candidate
}

private func requirement(_ text: String) throws -> Requirement {
    let parts = text.split(separator: " ", maxSplits: 1)
    return Requirement(service: String(parts[0]), versions: try VersionRange(parts.count > 1 ? String(parts[1]) : "*"))
}

extension Candidate {
    /// This candidate as a running plugin.
    var running: RunningPlugin {
        var plugin = RunningPlugin(manifest: manifest, source: source, identity: identity)
        plugin.isBuiltIn = isBuiltIn
        plugin.isolation = isolation
        return plugin
    }
}

extension PlanInput {
    init(_ candidates: [Candidate], running: [Candidate] = [], wanted: Wanted = .everything) {
        self.init()
        self.candidates = candidates
        self.running = running.map(\.running)
        self.wanted = wanted
    }
}

extension Plan {
    var startNames: [[String]] { starts.map { $0.map(\.plugin) } }
    var stopNames: [[String]] { stops.map { $0.map(\.plugin) } }

    func omission(_ plugin: String) -> Omission? { omissions.first { $0.plugin == plugin } }
}
