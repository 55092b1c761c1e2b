import KnapCallEngine
import KnapJSON
import KnapPlugin
import Logging

/// Why new contents are given up.
enum ReturnCause: Sendable {
    /// They failed on probation: into quarantine.
    case failed(String)
    /// The operator wants the old ones: not tried again by themselves.
    case operatorChose
    /// One of them did not start: another host may try again.
    case didNotStart(String)

    var isWanted: Bool { if case .operatorChose = self { true } else { false } }

    var reason: String {
        switch self {
        case .failed(let reason), .didNotStart(let reason): reason
        case .operatorChose: "rolled back by the operator"
        }
    }
}

/// The way back after a switch: the old code is started afresh on durable state, never on its old memory. Where the state
/// directory's schema had risen, on the copy from before.
extension Host {
    /// Returns plugins that were replaced together, all of them, and says what did not come back.
    ///
    /// `gate`: already closed before the party of `ended`, whose process is gone.
    @discardableResult
    func giveBack(
        _ given: [Change], _ cause: ReturnCause, ended: Instance? = nil, gate: Gate? = nil
    ) async -> String? {
        let reason = cause.reason
        let changes = given.filter { records[$0.name] != nil && $0.from != nil }
        logger.log(
            level: cause.isWanted ? .notice : .error, "upgrade returned", metadata: ["plugins": .string(changes.map(\.name).joined(separator: ", ")), "reason": .string(reason)])
        forgetProbation(of: given)
        var news: [String: Instance] = [:]
        for change in changes {
            if let instance = records[change.name]?.instance, instance.artifact?.digest == change.to.digest {
                news[change.name] = instance
                records[change.name]?.change(to: .reloading, "returns to the version before: \(reason)")
            } else if let ended, ended.manifest.name == change.name {
                news[change.name] = ended
            }
            if case .didNotStart = cause { continue }
            quarantine("\(change.to.digest)", change.name, reason)
        }
        let alive = news.values.filter { $0 !== ended }
        let gates = [gate, alive.isEmpty ? nil : engine.closeGate(of: alive.map(\.party))].compactMap { $0 }
        for change in changes.reversed() {
            guard let new = news[change.name] else { continue }
            if new !== ended { await end(new) }
            records[change.name]?.instance = nil
        }
        var problem: String?
        do throws(PluginError) { try await restore(changes) } catch {
            // The old code must not run on what the new code wrote.
            problem = "the state directory could not be put back: \(error.message)"
        }
        if problem == nil { await recordOrLog(.ended, changes) }
        for change in changes {
            guard let new = news[change.name] else { continue }
            if let failure = await startOld(change, new, reason, problem) { problem = failure }
        }
        for gate in gates { await onOwnThread { gate.open() } }
        if case .operatorChose = cause { return problem }  // whose operation is noted as such
        for change in changes {
            let outcome: Result<String, PluginError> =
                records[change.name]?.instance == nil
                ? .failure(PluginError(code: .failedPrecondition, message: "\(reason); \(problem ?? "it starts later")"))
                : .success(reason)
            await note("rollback", change.name, news[change.name]?.artifact, outcome)
        }
        return problem
    }

    private func end(_ new: Instance) async {
        var isIdle = await new.drain(mayServeOn: false)
        if !isIdle { isIdle = await new.endCalls() }
        new.code.serves(false)
        do throws(PluginError) {
            if isIdle { try await new.suspend() }
            if isIdle || new.code.isolation == .worker { await new.code.end() }
        } catch { await discard(new, after: error) }
    }

    /// Starts the code from before; what went wrong, or nil.
    private func startOld(_ change: Change, _ new: Instance, _ reason: String, _ problem: String?) async -> String? {
        guard let from = change.from else { return nil }
        do throws(PluginError) {
            if let problem { throw PluginError(code: .failedPrecondition, message: problem) }
            let artifact = try await stored(change.name, from.digest)
            let instance = try await make(artifact, change.name)
            do throws(PluginError) {
                try await instance.prepare()
                try await instance.activate()
                try serve(instance, change.name, "returned to \(artifact.manifest.version): \(reason)")
            } catch {
                await discard(instance, after: error)
                throw error
            }
            return nil
        } catch {
            let failure = "the version before does not start again: \(error.message)"
            quarantine("\(from.digest)", change.name, failure)
            await letGo(change.name, new, nil)
            records[change.name]?.change(to: .failed, "\(reason); \(failure)")
            return failure
        }
    }

    /// A content from the store.
    func stored(_ name: String, _ digest: Digest) async throws(PluginError) -> Artifact {
        let store = store
        let artifact: Result<Artifact, StoreError> = await onOwnThread {
            Result { () throws(StoreError) in try store.stored(name, digest) }
        }
        do { return try artifact.get() } catch { throw PluginError(code: .failedPrecondition, message: error.message) }
    }

    // MARK: What the operator asks for

    /// Returns to what ran before, freshly started on its durable state.
    func rollback(_ name: String) throws(PluginError) -> JSON {
        try knownPlugin(name)
        let standing = replacements.standing(of: name)
        guard standing.trial?.kind == .switched || standing.previous != nil else {
            throw PluginError(code: .failedPrecondition, message: "\(name) has no earlier version that ran here")
        }
        return begin("rollback", name) { [self] () throws(PluginError) in try await rollbackNow(name) }
    }

    private func rollbackNow(_ name: String) async throws(PluginError) -> String {
        let standing = replacements.standing(of: name)
        if let trial = standing.trial, trial.kind == .switched, records[name]?.instance != nil {
            for change in trial.changes {
                guard let from = change.from, let record = records[change.name] else { continue }
                let artifact = try await stored(change.name, from.digest)
                if let refusal = verdict(on: artifact, record).refusal {
                    throw PluginError(
                        code: .permissionDenied, message: "\(change.name) \(artifact.manifest.version) may not run: \(refusal)")
                }
            }
            if let problem = await giveBack(trial.changes, .operatorChose) {
                await reconcile()
                throw PluginError(code: .failedPrecondition, message: problem)
            }
            await reconcile()
        } else {
            guard let digest = standing.previous?.digest, let current = records[name]?.instance?.artifact else {
                throw PluginError(code: .failedPrecondition, message: "\(name) does not run, or has no earlier version")
            }
            let previous = try await stored(name, digest)
            try checkSchema(
                Change(name: name, from: Content(current), to: Content(previous)), current.manifest.version)
            try checkTogether([previous], isNew: false)
            // First, so that whatever comes between the next start does not take it for an upgrade.
            quarantine("\(current.digest)", name, ReturnCause.operatorChose.reason)
            do throws(PluginError) {
                try await replace(name, with: previous, "rolled back to \(previous.manifest.version)", .rollback)
            } catch {
                unquarantine("\(current.digest)")
                throw error
            }
        }
        let version = records[name]?.instance?.manifest.version
        return "runs \(version.map { "\($0)" } ?? "nothing") again; the file that was dropped in is not tried until it changes"
    }
}
