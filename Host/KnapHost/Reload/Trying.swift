import KnapPlugin
import Logging

/// The journal's side of replacements: what is tried, how far it has come, and the copies of state directories.
extension Host {
    /// The replacements that change a content, for the journal; refuses what could not read the state that is there.
    func changes(_ replacements: [Replacement], _ kind: ReplacementKind) throws(PluginError) -> [Change] {
        var changes: [Change] = []
        for replacement in replacements {
            guard let old = records[replacement.name]?.instance?.artifact, old.digest != replacement.artifact.digest else {
                continue
            }
            let change = Change(
                name: replacement.name, from: Content(old), to: Content(replacement.artifact), file: replacement.file)
            try checkSchema(change, old.manifest.version)
            changes.append(change)
        }
        return changes
    }

    /// Code that is older than the state on disk may misread it without noticing.
    func checkSchema(_ change: Change, _ version: Version?) throws(PluginError) {
        guard let from = change.from, change.to.schema < from.schema else { return }
        let old = version.map { " of \($0)" } ?? ""
        throw PluginError(
            code: .failedPrecondition,
            message: "\(change.name): its state_schema \(change.to.schema) is lower than \(from.schema)\(old), which wrote its state "
                + "directory; a return across schemas is possible until the upgrade is committed")
    }

    /// Writes down that these are being replaced. A replacement before theirs that is still on probation stands now: there
    /// is one step back, not two.
    func begin(_ changes: [Change]) async throws(PluginError) {
        guard !changes.isEmpty else { return }
        for change in changes {
            if let probation = probation(of: change.name) { await commit(probation.changes) }
        }
        try await record(.replacing, changes)
    }

    /// Copies the state directories whose schema rises, and writes down that the new ones may write from now on.
    func switching(_ given: [Change]) async throws(PluginError) -> [Change] {
        var changes = given
        for index in changes.indices {
            guard let from = changes[index].from, changes[index].to.schema > from.schema else { continue }
            let (checkpoints, name) = (checkpoints, changes[index].name)
            try await onDisk { () throws(StoreError) in try checkpoints.take(name) }
            changes[index].hasCheckpoint = true
        }
        try await record(.switching, changes)
        return changes
    }

    /// Puts the copies back, for code that is about to run on them.
    func restore(_ changes: [Change]) async throws(PluginError) {
        try await record(.returning, changes)
        for change in changes where change.hasCheckpoint {
            let (checkpoints, name) = (checkpoints, change.name)
            try await onDisk { () throws(StoreError) in try checkpoints.restore(name) }
        }
    }

    /// Writes down that the old ones go on. Copies that could not be put back are left to the next start.
    func giveUp(_ changes: [Change]) async {
        guard let first = changes.first, let trial = replacements.standing(of: first.name).trial, trial.kind != .returning
        else { return }
        do throws(PluginError) { try await record(.ended, changes) } catch {
            return logger.error("journal not written", metadata: ["step": "ended", "reason": .string(error.message)])
        }
        for change in changes { await discardCheckpoint(of: change.name) }
    }

    func discardCheckpoint(of name: String) async {
        let checkpoints = checkpoints
        await onOwnThread { checkpoints.discard(name) }
    }

    func record(_ kind: ReplacementStep.Kind, _ changes: [Change]) async throws(PluginError) {
        guard !changes.isEmpty else { return }
        let replacements = replacements
        try await onDisk { () throws(StoreError) in
            try replacements.record(ReplacementStep(kind: kind, changes: changes))
        }
    }

    /// For steps after which nothing can be undone: the next start finds out by itself.
    func recordOrLog(_ kind: ReplacementStep.Kind, _ changes: [Change]) async {
        do throws(PluginError) { try await record(kind, changes) } catch {
            logger.error("journal not written", metadata: ["step": .string(kind.rawValue), "reason": .string(error.message)])
        }
    }

    private func onDisk(_ work: @escaping @Sendable () throws(StoreError) -> Void) async throws(PluginError) {
        let result: Result<Void, StoreError> = await onOwnThread { Result { () throws(StoreError) in try work() } }
        do { try result.get() } catch { throw PluginError(code: .unavailable, message: error.message) }
    }
}
