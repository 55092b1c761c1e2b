import Glibc
import KnapJSON
import KnapPlugin
import Logging

/// Several new versions at once: all of them run in the end, or none does.
extension Host {
    /// Takes every library of a folder as a new version of a plugin in the drop directory, plans them together, and
    /// replaces them in one transaction.
    func upgrade(_ directory: String) -> JSON {
        begin("upgrade", directory) { [self] () throws(PluginError) in try await upgradeNow(directory) }
    }

    private func upgradeNow(_ directory: String) async throws(PluginError) -> String {
        let upgrades = try await candidates(in: directory)
        for upgrade in upgrades {
            guard let record = records[upgrade.name], record.artifact != nil else {
                throw PluginError(
                    code: .failedPrecondition,
                    message: "\(upgrade.name) does not run here; 'knap plugins install' takes new plugins")
            }
            guard !record.isFirstParty else {
                throw PluginError(code: .failedPrecondition, message: "\(upgrade.name) ships with Knap and is upgraded with it")
            }
            guard PluginFolder.isOne(record.source) == (upgrade.artifact.folder != nil) else {
                throw PluginError(
                    code: .failedPrecondition,
                    message: "\(upgrade.name): a library cannot take the place of a folder, nor a folder that of a library; "
                        + "remove \(record.source) and install the new one")
            }
        }
        let plan = try checkTogether(upgrades.map(\.artifact), isNew: true)
        let byName = Dictionary(upgrades.map { ($0.name, $0.artifact) }) { first, _ in first }
        let ordered = plan.starts.joined().compactMap { step in
            byName[step.plugin].map { Replacement(name: step.plugin, artifact: $0, file: records[step.plugin]?.source) }
        }
        guard !ordered.isEmpty else { return "all of them run already" }
        let staged = try await stage(upgrades)
        do throws(PluginError) { try await replace(ordered, "upgrade") } catch {
            for file in staged { file.discard() }
            throw error
        }
        for replacement in ordered { records[replacement.name]?.artifact = replacement.artifact }
        for file in staged {
            do throws(StoreError) { try file.place() } catch {
                logger.error("upgraded file not in place", metadata: ["file": .string(file.target), "reason": "\(error)"])
            }
            DeathPoint.reached("upgrade-renaming")
        }
        return "upgraded: "
            + ordered.map { "\($0.name) to \($0.artifact.manifest.version)" }.joined(separator: ", ")
    }

    /// Plans what runs with these contents in place of their own; refuses what anything else would stop for.
    @discardableResult
    func checkTogether(_ artifacts: [Artifact], isNew: Bool) throws(PluginError) -> Plan {
        var input = planInput()
        for artifact in artifacts {
            guard let index = input.candidates.firstIndex(where: { $0.manifest.name == artifact.manifest.name }) else { continue }
            let (old, identity) = (input.candidates[index], "\(artifact.digest)")
            var candidate = Candidate(manifest: artifact.manifest, source: old.source, identity: identity)
            candidate.isBuiltIn = old.isBuiltIn
            candidate.isolation = old.isolation
            if let record = records[artifact.manifest.name], !record.isFirstParty {
                let verdict = verdict(on: artifact, record, isNew: isNew)
                candidate.refusal = verdict.refusal
                candidate.missingGrants = missingGrants(artifact, verdict)
            }
            input.candidates[index] = candidate
        }
        let names = Set(artifacts.map(\.manifest.name))
        let plan = Planner.plan(input)
        if let problem = plan.omissions.first(where: { names.contains($0.plugin) || $0.stillRunning != nil && $0.code.isProblem }) {
            throw PluginError(code: .failedPrecondition, message: "\(problem.plugin): \(problem.message); nothing was changed")
        }
        if let stopped = plan.stops.joined().first {
            throw PluginError(
                code: .failedPrecondition, message: "\(stopped.plugin) could not run any more; nothing was changed")
        }
        return plan
    }

    private struct Upgrade: Sendable {
        var name: String
        var artifact: Artifact
    }

    private func candidates(in directory: String) async throws(PluginError) -> [Upgrade] {
        let paths = await onOwnThread { pluginFiles(in: directory) }
        guard !paths.isEmpty else {
            throw PluginError(code: .notFound, message: "\(directory) holds no library (*.so) and no plugin's folder (*.knap)")
        }
        var upgrades: [Upgrade] = []
        let store = store
        for path in paths {
            let taken: Result<Artifact, StoreError> = await onOwnThread {
                Result { () throws(StoreError) in try store.take(path) }
            }
            do throws(StoreError) {
                let artifact = try taken.get()
                upgrades.append(Upgrade(name: artifact.manifest.name, artifact: artifact))
            } catch {
                throw PluginError(code: .failedPrecondition, message: "\(error); nothing was upgraded")
            }
        }
        return upgrades
    }

    /// Writes what is new beside what it replaces, so that only renames are left to do.
    private func stage(_ upgrades: [Upgrade]) async throws(PluginError) -> [StagedFile] {
        var staged: [StagedFile] = []
        for upgrade in upgrades {
            guard let target = records[upgrade.name]?.source else { continue }
            let files: Result<[StagedFile], PluginError> = await onOwnThread {
                Result { () throws(PluginError) in try upgrade.artifact.stage(for: target) }
            }
            do throws(PluginError) { staged += try files.get() } catch {
                for file in staged { file.discard() }
                throw error
            }
        }
        return staged
    }
}
