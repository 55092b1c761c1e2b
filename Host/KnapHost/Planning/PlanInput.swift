/// All that the planner looks at; it reads no file and asks no clock, so equal input gives an equal plan.
package struct PlanInput: Sendable {
    package var candidates: [Candidate] = []
    package var running: [RunningPlugin] = []
    package var wanted = Wanted.everything
    /// The operator's choice where several plugins provide one service: service to plugin.
    package var preferredProviders: [String: String] = [:]

    package init() {}
}

/// Which plugins should run.
package enum Wanted: Sendable, Hashable {
    /// Every plugin that is enabled.
    case everything
    /// These and what they require.
    case only(Set<String>)
}

/// A plugin that could run.
package struct Candidate: Sendable {
    package var manifest: Manifest
    /// The file it came from, for messages.
    package var source: String
    /// The digest of library and manifest: two generations are the same exactly when this is.
    package var identity: String
    package var isBuiltIn = false
    package var isEnabled = true
    /// The operator's choice.
    package var isolation = Isolation.worker
    /// What it asks for and nobody granted yet.
    package var missingGrants: [String] = []
    /// Why this very content is not to be started again.
    package var quarantine: String?
    /// Why the operator's policy on signatures keeps it from running.
    package var refusal: String?
    /// What may be started when this cannot, best first: what ran here before.
    package var fallbacks: [Fallback] = []
    /// It does not run now, and is what ran last.
    package var ranLast = false
    /// Why it is not to be started now although nothing is wrong with it: a whole sentence that says what to do.
    package var onHold: String?

    package init(manifest: Manifest, source: String, identity: String) {
        self.manifest = manifest
        self.source = source
        self.identity = identity
    }
}

/// An earlier content of a plugin that does not run now.
package struct Fallback: Sendable {
    package var manifest: Manifest
    package var identity: String

    package init(manifest: Manifest, identity: String) {
        self.manifest = manifest
        self.identity = identity
    }
}

/// A plugin that runs now, with the manifest it was started with.
package struct RunningPlugin: Sendable {
    package var manifest: Manifest
    package var source: String
    package var identity: String
    package var isBuiltIn = false
    package var isolation = Isolation.worker
    /// Where it is to run from now on.
    package var wantedIsolation: Isolation?
    /// Why the operator's policy on signatures keeps it from running any longer.
    package var refusal: String?

    package init(manifest: Manifest, source: String, identity: String) {
        self.manifest = manifest
        self.source = source
        self.identity = identity
    }
}
