import Glibc
import KnapJSON
import KnapPlugin

/// What the operator may do to plugins.
extension Host {
    func knownPlugin(_ name: String) throws(PluginError) {
        guard records[name] == nil else { return }
        throw PluginError(
            code: .notFound,
            message: "there is no plugin '\(name)'\(NearestMatch.hint(name, among: records.keys.sorted()))")
    }

    func enable(_ name: String, _ isEnabled: Bool) throws(PluginError) -> JSON {
        try knownPlugin(name)
        return begin(isEnabled ? "enable" : "disable", name) { [self] () throws(PluginError) in
            try await choose { choices in
                if isEnabled { choices.disabled.remove(name) } else { choices.disabled.insert(name) }
            }
            return try await settle(name, isEnabled ? "enabled" : "disabled")
        }
    }

    func isolate(_ name: String, _ isolation: Isolation?) throws(PluginError) -> JSON {
        try knownPlugin(name)
        let content = records[name].flatMap { $0.instance?.artifact ?? $0.artifact }
        if let isolation, let supported = content?.manifest.isolations, !supported.contains(isolation) {
            throw PluginError(
                code: .failedPrecondition,
                message: "\(name) cannot run \(isolation.rawValue): it supports \(supported.map(\.rawValue).joined(separator: ", "))")
        }
        return begin("isolate", name) { [self] () throws(PluginError) in
            let before = choices.current
            let digest = content.map { "\($0.digest)" }
            try await choose {
                $0.isolation[name] = isolation
                // Said now, after what happened.
                if isolation == .inProcess, let digest { $0.confined[digest] = nil }
            }
            await unreject(name)
            let done = try await settle(name, "runs \(isolation?.rawValue ?? "where it does by default")")
            if let staying = await staysElsewhere(name) {
                try await choose {
                    $0.isolation[name] = before.isolation[name]
                    if let digest { $0.confined[digest] = before.confined[digest] }
                }
                throw PluginError(code: .failedPrecondition, message: "\(name) runs \(staying.rawValue) as before: \(await records[name]?.reason ?? "")")
            }
            return done
        }
    }

    /// Where a plugin runs although it is wanted elsewhere.
    private func staysElsewhere(_ name: String) -> Isolation? {
        guard let record = records[name], let instance = record.instance, let artifact = instance.artifact else { return nil }
        return instance.code.isolation == isolation(of: artifact, record) ? nil : instance.code.isolation
    }

    func grant(_ name: String) throws(PluginError) -> JSON {
        try knownPlugin(name)
        guard let artifact = records[name]?.artifact else {
            throw PluginError(code: .failedPrecondition, message: "the file of \(name) is gone")
        }
        return begin("grant", name) { [self] () throws(PluginError) in
            try await grantNow(artifact)
            return try await settle(name, "granted: " + artifact.manifest.permissions.requests.joined(separator: ", "))
        }
    }

    private func grantNow(_ artifact: Artifact) async throws(PluginError) {
        guard let record = records[artifact.manifest.name] else { return }
        let (grants, signers) = (grants, verdict(on: artifact, record).fingerprints)
        try await durably { () throws(ConfigurationError) in
            try grants.grant(artifact.manifest, identity: "\(artifact.digest)", signers: signers)
        }
    }

    /// Writes what the operator decided, on a thread that may wait for the disk.
    func durably(_ write: @escaping @Sendable () throws(ConfigurationError) -> Void) async throws(PluginError) {
        let written: Result<Void, ConfigurationError> = await onOwnThread { Result(catching: write) }
        do throws(ConfigurationError) { try written.get() } catch {
            throw PluginError(code: .failedPrecondition, message: error.message)
        }
    }

    /// Lets a content that failed be tried again, in the host's process too; without a name, all that safe mode holds back.
    func release(_ name: String?) throws(PluginError) -> JSON {
        guard let name else {
            guard safeMode != nil else {
                throw PluginError(code: .failedPrecondition, message: "the host is not in safe mode; say which plugin to release")
            }
            return begin("release", "all") { [self] () throws(PluginError) in
                await leaveSafeMode()
                await reconcile()
                return "safe mode is over"
            }
        }
        try knownPlugin(name)
        guard let digest = records[name]?.artifact.map({ "\($0.digest)" }) else {
            throw PluginError(code: .failedPrecondition, message: "the file of \(name) is gone")
        }
        return begin("release", name) { [self] () throws(PluginError) in
            try await choose {
                $0.quarantine[digest] = nil
                $0.confined[digest] = nil
            }
            await unreject(name)
            await free(name)
            return try await settle(name, "released")
        }
    }

    /// Changes a setting and reloads the plugin with it. A value that its schema does not allow is not written.
    func configure(_ name: String, _ key: String, _ value: JSON?, secret: Bool) async throws(PluginError) -> JSON {
        if name == HostService.name { return try configureHost(key, value) }
        try await write(name, key, value, secret: secret)
        return records[name]?.instance != nil ? try reload(name) : ["applies": .string("when \(name) starts")]
    }

    func write(_ name: String, _ key: String, _ value: JSON?, secret: Bool) async throws(PluginError) {
        let (store, manifest) = (configurationStore, manifest(of: name))
        try await durably { () throws(ConfigurationError) in
            try store.set(name, key, value, secret: secret, checkedBy: manifest)
        }
    }

    /// By which the configuration of a plugin, or of the host itself, is checked; nil when there is no such plugin yet.
    func manifest(of name: String) -> Manifest? {
        if name == HostService.name { return try? HostManifest.manifest() }
        return records[name]?.artifact?.manifest ?? records[name]?.instance?.manifest
    }

    /// Loads the plugin anew, by a transaction: its configuration is read again.
    func reload(_ name: String) throws(PluginError) -> JSON {
        try knownPlugin(name)
        return begin("reload", name) { [self] () throws(PluginError) in try await reloadNow(name) }
    }

    private func reloadNow(_ name: String) async throws(PluginError) -> String {
        // What runs may be another version than the newest, which the operator or its own failure rolled back.
        guard let artifact = records[name]?.instance?.artifact else {
            unreject(name)
            return try await settle(name, "started")
        }
        let began = ContinuousClock.now
        try await replace(name, with: artifact, "reload")
        return "reloaded in \((ContinuousClock.now - began).inMilliseconds) ms"
    }

    /// Puts a library, with the manifest beside it, or a folder into the drop directory.
    func install(_ path: String) -> JSON {
        begin("install", path) { [self] () throws(PluginError) in
            let artifact = try await admit(path)
            let directory = configuration.state.plugins
            let target = directory + "/" + (path.split(separator: "/").last.map(String.init) ?? "")
            let placed: Result<Void, PluginError> = await onOwnThread {
                Result { () throws(PluginError) in try artifact.place(at: target) }
            }
            try placed.get()
            await take(target, isFirstParty: false)
            if let reason = await refused[target] {
                _ = PluginFile.remove(target)
                throw PluginError(code: .failedPrecondition, message: reason)
            }
            guard let name = await records.values.first(where: { $0.source == target })?.name else {
                throw PluginError(code: .internal, message: "\(target) was not taken")
            }
            return try await settle(name, "installed as \(target)")
        }
    }

    /// Checks a file before it takes the place of another: what cannot run must not cost the version that does.
    private func admit(_ path: String) async throws(PluginError) -> Artifact {
        let store = store
        let taken: Result<Artifact, StoreError> = await onOwnThread {
            Result { () throws(StoreError) in try store.take(path) }
        }
        let artifact: Artifact
        do throws(StoreError) { artifact = try taken.get() } catch {
            throw PluginError(code: .failedPrecondition, message: error.message)
        }
        let name = artifact.manifest.name
        if let refusal = signaturePolicy.verdict(on: name, signers: artifact.signers, trust.current).refusal {
            throw PluginError(
                code: .permissionDenied, message: "\(name) \(artifact.manifest.version) was not installed: \(refusal)")
        }
        return artifact
    }

    /// Removes the file of a plugin and stops it; what requires it keeps it from going unless `cascade`.
    func remove(_ name: String, cascade: Bool) throws(PluginError) -> JSON {
        try knownPlugin(name)
        guard let record = records[name], !record.isFirstParty else {
            throw PluginError(
                code: .failedPrecondition, message: "\(name) ships with Knap; 'knap plugins disable \(name)' stops it")
        }
        let dependants = self.dependants(of: name)
        guard cascade || dependants.isEmpty else {
            throw PluginError(
                code: .failedPrecondition,
                message: "\(dependants.joined(separator: ", ")) would stop with it; --cascade stops them too")
        }
        return begin("remove", name) { [self] () throws(PluginError) in
            guard PluginFile.remove(record.source) else {
                throw PluginError(code: .failedPrecondition, message: "\(record.source) cannot be removed: \(errorText(errno))")
            }
            await forgetFile(name)
            await reconcile()
            return dependants.isEmpty ? "removed" : "removed; stopped with it: \(dependants.joined(separator: ", "))"
        }
    }

    private func forgetFile(_ name: String) { records[name]?.artifact = nil }

    /// Every running plugin that requires this one, over any number of others.
    func dependants(of name: String) -> [String] {
        var found: Set<String> = [name]
        while true {
            let services = Set(found.flatMap { records[$0]?.instance?.manifest.provides.map(\.service) ?? [] })
            let more = records.values.filter { record in
                !found.contains(record.name)
                    && record.instance?.manifest.requires.contains { services.contains($0.service) } ?? false
            }
            if more.isEmpty { return found.subtracting([name]).sorted() }
            found.formUnion(more.map(\.name))
        }
    }

    private func choose(
        _ edit: @escaping @Sendable (inout OperatorChoices.Choices) -> Void
    ) async throws(PluginError) {
        let choices = choices
        try await durably { () throws(ConfigurationError) in try choices.change(edit) }
    }

    private func leaveSafeMode() { safeMode = nil }
    private func free(_ name: String) { freed.insert(name) }

    private func unreject(_ name: String) {
        if let artifact = records[name]?.artifact {
            rejected["\(artifact.digest)"] = nil
            ended["\(artifact.digest)"] = nil
            confinedHere["\(artifact.digest)"] = nil
        }
        records[name]?.restarts = []
    }

    /// Carries out what follows from a change and says what became of the plugin.
    private func settle(_ name: String, _ done: String) async throws(PluginError) -> String {
        await reconcile()
        guard let record = records[name] else { return done }
        if record.state == .failed { throw PluginError(code: .failedPrecondition, message: record.reason) }
        return "\(done); it is \(record.state.rawValue): \(record.reason)"
    }
}
