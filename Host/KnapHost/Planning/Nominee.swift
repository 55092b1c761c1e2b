/// One version of a plugin that may run: a candidate, or what runs already.
struct Nominee: Sendable {
    let manifest: Manifest
    let source: String
    let identity: String
    let isBuiltIn: Bool
    let isolation: Isolation
    let isRunning: Bool

    init(_ candidate: Candidate, isRunning: Bool) {
        manifest = candidate.manifest
        source = candidate.source
        identity = candidate.identity
        isBuiltIn = candidate.isBuiltIn
        isolation = candidate.isolation
        self.isRunning = isRunning
    }

    init(_ candidate: Candidate, _ fallback: Fallback) {
        manifest = fallback.manifest
        source = candidate.source
        identity = fallback.identity
        isBuiltIn = candidate.isBuiltIn
        isolation = candidate.isolation
        isRunning = false
    }

    /// `moves`: to where it is wanted, if its manifest allows that.
    init(_ running: RunningPlugin, moves: Bool = false) {
        manifest = running.manifest
        source = running.source
        identity = running.identity
        isBuiltIn = running.isBuiltIn
        let wanted = running.wantedIsolation.flatMap { running.manifest.isolations.contains($0) ? $0 : nil }
        isolation = moves ? wanted ?? running.isolation : running.isolation
        isRunning = isolation == running.isolation
    }

    var name: String { manifest.name }

    func omission(_ code: Omission.Code, _ message: String, chain: [String] = []) -> Omission {
        Omission(plugin: name, version: manifest.version, source: source, code: code, message: message, chain: chain)
    }
}
