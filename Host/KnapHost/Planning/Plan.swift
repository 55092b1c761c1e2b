/// What to do, in order: the stops, wave after wave, then the starts. The steps of one wave may run side by side.
package struct Plan: Sendable, Hashable {
    package var stops: [[Step]] = []
    package var starts: [[Step]] = []
    /// Plugins that run and go on running untouched, sorted.
    package var kept: [String] = []
    /// Every candidate that is not in the plan, with the reason; sorted by plugin.
    package var omissions: [Omission] = []
    /// What is worth knowing but keeps nothing from running.
    package var notes: [String] = []
    /// Who serves what when the plan is carried out: service to plugin.
    package var providers: [String: String] = [:]

    package init() {}

    package var isEmpty: Bool { stops.isEmpty && starts.isEmpty }

    /// Omissions that somebody has to act on, unlike plugins that are disabled or not wanted.
    package var problems: [Omission] { omissions.filter(\.code.isProblem) }
}

/// One plugin to start, stop or replace.
package struct Step: Sendable, Hashable {
    package enum Action: Sendable, Hashable {
        case start
        case stop(reason: String)
        /// By a reload transaction; the old generation serves until the new one does.
        case replace(old: Version)
    }

    package var action: Action
    package var plugin: String
    package var version: Version
    package var identity: String
    package var source: String
    package var isolation: Isolation
}

/// A candidate that is left out of the plan, and why.
package struct Omission: Sendable, Hashable {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        case disabled, notWanted
        case duplicateName, quarantined, signatureRefused, onHold, isolationUnsupported, waitingForGrants
        case missingDependency, versionMismatch, versionConflict, dependencyLeftOut, cycle
        case conflict, serviceTaken, unknownPlugin
        /// Something that runs needs the version that runs.
        case heldBack

        package var isProblem: Bool { self != .disabled && self != .notWanted }
    }

    package var plugin: String
    package var version: Version?
    package var source: String
    package var code: Code
    /// One sentence: what happened, to what, what to do.
    package var message: String
    /// The plugins and services from this one to the cause.
    package var chain: [String] = []
    /// An upgrade was held back: this version goes on running.
    package var stillRunning: Version?
}
