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

    init(_ running: RunningPlugin) {
        manifest = running.manifest
        source = running.source
        identity = running.identity
        isBuiltIn = running.isBuiltIn
        isolation = running.isolation
        isRunning = true
    }

    var name: String { manifest.name }

    func omission(_ code: Omission.Code, _ message: String, chain: [String] = []) -> Omission {
        Omission(plugin: name, version: manifest.version, source: source, code: code, message: message, chain: chain)
    }
}
