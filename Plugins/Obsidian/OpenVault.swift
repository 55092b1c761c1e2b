import KnapPlugin

/// One vault, as its callers see it, and what works on it while it is open.
struct OpenVault: Sendable {
    let views: VaultViews
    let watcher: VaultWatcher
    let pipeline: NotePipeline

    /// As it is for the plugin itself.
    var vault: Vault { views.base }

    /// - Parameters:
    ///   - isOnly: No other vault is open, so that addresses of its notes need not name it.
    ///   - directory: Where its indexes and its journal are.
    ///   - models: Nil where search by meaning is switched off.
    init(
        root: String, name: String, isOnly: Bool, rules: [PathRule], directory: String, models: ModelSource?, feeds: ResourceFeeds,
        host: PluginHost
    ) throws {
        let id = ContentVersion.of(Array(root.utf8)).prefix(12)
        let vault = try Vault(
            root: root, name: name, indexPath: "\(directory)/index-\(id).sqlite",
            journalPath: "\(directory)/history-\(id).sqlite", meaning: models.map { ($0, "\(directory)/meaning-\(id).sqlite") }, access: VaultViews.common(rules))
        // Of notes that only some callers may see their own views tell.
        let publish: @Sendable (Set<String>) -> Void = { paths in
            guard !paths.isEmpty else { return }
            feeds.add(paths.reduce(into: []) { $0.formUnion(NoteAddress.all(of: $1, vault: name, isOnly: isOnly)) })
        }
        let onError: @Sendable (any Error) -> Void = { [log = host.log] error in
            log.error("vault could not be indexed", ["vault": root, "reason": "\(error)"])
        }
        vault.changes.follow(publish)
        watcher = try VaultWatcher(vault: vault, onError: onError)
        views = VaultViews(base: vault, rules: rules) { access in
            let view = try Vault(
                viewOf: vault, access: access, indexPath: "\(directory)/index-\(id)-\(access.id).sqlite",
                meaning: models.map { ($0, "\(directory)/meaning-\(id)-\(access.id).sqlite") })
            view.changes.follow(publish)
            return (view, try VaultWatcher(vault: view, onError: onError))
        }
        pipeline = NotePipeline(
            vault: vault, store: try ProcessingStore(path: "\(directory)/processing-\(id).sqlite"), caller: .init(host))
    }

    /// Starts to index; answers come from the first moment, and say so while they are incomplete.
    func start(_ host: PluginHost) {
        vault.meaning?.start()
        watcher.start()
        // A view is opened at its first call otherwise, which says what is wrong.
        do { try views.prepare() } catch {
            host.log.error("a caller's view of a vault could not be prepared", ["vault": vault.name, "reason": "\(error)"])
        }
    }

    /// Returns when nothing touches its indexes any more.
    func stop() {
        watcher.stop()
        vault.meaning?.stop()
        views.close()
    }
}
