import Glibc
import KnapPlugin
import Logging

/// Taking plugins in: from the installation and the drop directories into the store, and out again.
extension Host {
    var dropPaths: [String] { [configuration.state.plugins] + configuration.pluginDirectories }

    /// Reads what is in the installation and in the drop directories; broken files are remembered with the reason.
    func takeAll() async {
        let directories =
            [configuration.builtInPlugins].compactMap { $0 }.map { ($0, true) } + dropPaths.map { ($0, false) }
        await onOwnThread { [dropPaths] in for directory in dropPaths { StoreDirectory.removeParts(in: directory) } }
        for (directory, isFirstParty) in directories {
            let paths = await onOwnThread { pluginFiles(in: directory) }
            for path in paths { await take(path, isFirstParty: isFirstParty) }
        }
    }

    /// Takes one file in, new or changed; true when what should run may have changed.
    @discardableResult
    func take(_ path: String, isFirstParty: Bool) async -> Bool {
        let store = store
        let result: Result<Artifact, StoreError> = await onOwnThread {
            Result { () throws(StoreError) in try store.take(path) }
        }
        switch result {
        case .success(let artifact):
            refused[path] = nil
            return add(artifact, from: path, isFirstParty: isFirstParty)
        case .failure(let error):
            refuse(path, "\(error)")
            return false
        }
    }

    private func refuse(_ path: String, _ reason: String) {
        guard refused[path] != reason else { return }
        refused[path] = reason
        logger.warning("file refused", metadata: ["file": .string(path), "reason": .string(reason)])
    }

    private func add(_ artifact: Artifact, from path: String, isFirstParty: Bool) -> Bool {
        let name = artifact.manifest.name
        // The file may have held another plugin before.
        for (other, record) in records where record.source == path && other != name { records[other]?.artifact = nil }
        if let other = records[name], other.source != path, other.artifact != nil {
            refuse(path, "a plugin '\(name)' is already there: \(other.source); remove one of the two")
            return false
        }
        var record = records[name] ?? PluginRecord(name: name, source: path, isFirstParty: isFirstParty, feed: feed)
        guard record.artifact?.digest != artifact.digest || record.artifact?.signers != artifact.signers else { return false }
        record.source = path
        record.isFirstParty = isFirstParty
        record.artifact = artifact
        record.found(artifact)
        record.warnings = artifact.warnings
        if record.instance == nil { record.change(to: .resolved, "found") }
        records[name] = record
        return true
    }

    /// From now on whatever is dropped in, changed or removed is dealt with as it comes.
    func watchDropDirectories() {
        let directories = dropPaths
        dropDirectories = DropDirectories(directories) { [weak self] changes in
            guard let self else { return }
            Task { await self.change { await self.apply(changes) } }
        }
        // What came between the first look and the watch.
        Task { await change { [self] in await apply(pluginFiles(inAll: directories).map { .ready($0) }) } }
    }

    private func apply(_ changes: [Inbox.Change]) async {
        guard !isStopping else { return }
        var isChanged = false
        for change in changes {
            switch change {
            case .ready(let path):
                if await take(path, isFirstParty: false) { isChanged = true }
            case .removed(let path):
                refused[path] = nil
                for (name, record) in records where record.source == path {
                    records[name]?.artifact = nil
                    isChanged = true
                }
            }
        }
        if isChanged { await reconcile() }
    }
}

private func pluginFiles(inAll directories: [String]) -> [String] { directories.flatMap(pluginFiles(in:)) }

/// The libraries and the plugins' folders directly in a directory, sorted; none when there is no such directory.
func pluginFiles(in directory: String) -> [String] {
    (readDirectory(directory) ?? []).filter(Inbox.isPlugin).map { directory + "/" + $0 }.sorted()
}
