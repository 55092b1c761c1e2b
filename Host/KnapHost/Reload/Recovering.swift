import Glibc
import KnapPlugin
import Logging

/// After a host that ended in the middle of something: what runs is the old or the new, on the state that belongs to it.
extension Host {
    /// Brings every replacement that was begun to one of its ends. Before anything is taken in or started.
    func recoverReplacements() async {
        var kept: Set<String> = []
        for trial in replacements.standings.trials {
            do throws(PluginError) {
                switch trial.kind {
                case .switching, .returning:
                    // The new code may have written; nobody was promised anything by it, or it is being returned.
                    try await restore(trial.changes)
                    try await record(.ended, trial.changes)
                case .switched:
                    kept.formUnion(trial.changes.filter(\.hasCheckpoint).map(\.name))
                    try await placeFiles(trial.changes)
                case .replacing, .started, .committed, .ended, .removed:
                    try await record(.ended, trial.changes)
                }
            } catch {
                kept.formUnion(trial.changes.map(\.name))
                logger.error(
                    "replacement not recovered",
                    metadata: [
                        "plugins": .string(trial.changes.map(\.name).joined(separator: ", ")), "reason": .string(error.message),
                    ])
            }
        }
        let (checkpoints, keeping) = (checkpoints, kept)
        await onOwnThread { checkpoints.sweep(keeping: keeping) }
    }

    /// Several upgrades that were switched together: their files hold all of the new contents, whichever were renamed.
    private func placeFiles(_ changes: [Change]) async throws(PluginError) {
        for change in changes {
            guard let file = change.file else { continue }
            let artifact = try await stored(change.name, change.to.digest)
            let placed: Result<Void, PluginError> = await onOwnThread {
                Result { () throws(PluginError) in try artifact.place(at: file) }
            }
            try placed.get()
        }
    }

    /// For plugins that do not run and whose file holds another content than last ran here: that one.
    func findFallbacks() async {
        for name in records.keys.sorted() where records[name]?.instance == nil {
            let standing = replacements.standing(of: name)
            var wanted: [Digest] = []
            for content in [standing.serving(name), standing.content].compactMap({ $0 })
            where content.digest != records[name]?.artifact?.digest && !wanted.contains(content.digest) {
                wanted.append(content.digest)
            }
            guard wanted != records[name]?.fallbacks.map(\.digest) else { continue }
            var fallbacks: [Artifact] = []
            for digest in wanted {
                // What the store does not hold any more cannot be returned to.
                if let artifact = try? await stored(name, digest) { fallbacks.append(artifact) }
            }
            records[name]?.fallbacks = fallbacks
        }
    }

    func mayFallBack(to artifact: Artifact, _ record: PluginRecord, _ choices: OperatorChoices.Choices) -> Bool {
        let identity = "\(artifact.digest)"
        return choices.quarantine[identity] == nil && rejected[identity] == nil
            && artifact.manifest.isolations.contains(isolation(of: artifact, record))
            && verdict(on: artifact, record).refusal == nil
            && (record.isFirstParty || missingGrants(artifact, verdict(on: artifact, record)).isEmpty)
    }

    // MARK: Starts that are replacements

    /// Before a plugin is started with another content than last ran here: writes that down, and copies its state
    /// directory if the schema rises. The change is on probation when it serves.
    func tryAnew(_ artifact: Artifact, _ name: String) async throws(PluginError) -> [Change] {
        let standing = replacements.standing(of: name)
        guard let serving = standing.serving(name) else { return [Change(name: name, to: Content(artifact))] }
        guard serving.digest != artifact.digest else { return [] }
        if let trial = standing.trial, standing.content?.digest == artifact.digest {
            // The file holds again what ran before the one on probation.
            try await restore(trial.changes)
            try await record(.ended, trial.changes)
            return []
        }
        let change = Change(name: name, from: serving, to: Content(artifact))
        try checkSchema(change, nil)
        if let trial = standing.trial, trial.kind == .switched { await commit(trial.changes) }
        try await record(.replacing, [change])
        return try await switching([change])
    }

    /// A content that was tried did not start: what was replaced with it returns as well.
    func returnFailedStart(of artifact: Artifact, _ name: String, _ reason: String) async {
        guard let trial = replacements.standing(of: name).trial,
            trial.changes.contains(where: { $0.name == name && $0.to.digest == artifact.digest })
        else { return }
        await giveBack(trial.changes, trial.kind == .switched ? .failed("\(name): \(reason)") : .didNotStart(reason))
    }
}
