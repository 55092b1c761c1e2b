import Glibc
import KnapPlugin
import Synchronization

/// The plugin `obsidian`: folders of notes as the service `vault`.
///
/// It reads and writes the files themselves, so it needs no running Obsidian, and keeps an index of each vault in its
/// state directory. All methods may block: the host runs them on threads for that.
public final class ObsidianPlugin: Plugin, HealthReporting {
    public static let name = "obsidian", version = "0.1.0"

    public static let methods: [KnapPlugin.Method<ObsidianPlugin>] = [
        .blocking("vault.search_notes", searchNotes), .blocking("vault.read_note", readNote),
        .blocking("vault.list_notes", listNotes), .blocking("vault.write_note", writeNote),
        .blocking("vault.edit_note", editNote), .blocking("vault.move_note", moveNote),
        .blocking("vault.delete_note", deleteNote), .blocking("vault.note_links", noteLinks),
        .blocking("vault.list_tags", listTags), .blocking("vault.query_notes", queryNotes),
        .blocking("vault.recent_changes", recentChanges), .blocking("vault.read_resource", readResource),
        .blocking("vault.history", history), .blocking("vault.undo", undo), .blocking("vault.status", status),
        .blocking("vault.batch", editNotes),
        .blocking("vault.graph", graph), .blocking("vault.mentions", mentions), .blocking("vault.context", context),
        .blocking("vault.search_marked", searchMarked), .blocking("vault.details", details),
        .stream("vault.resource_changes", resourceChanges), .blocking("vault.note_data", noteData),
        .blocking("vault.check_resource", checkResource),
        .blocking("vault.tasks", tasks), .blocking("vault.processing", processing),
        .call("vault.process_notes", processNotes),
        .blocking("vault.rename_heading", renameHeading), .blocking("vault.rename_tag", renameTag),
    ]

    private struct Settings: Codable {
        var vaults: [String]
        /// Where the model of search by meaning is; empty for none.
        var meaning: String
        var policies: [PathRule]?
    }

    private struct Open {
        var vaults: VaultSet
        var watchers: [VaultWatcher]
        var pipelines: [String: NotePipeline] = [:]
        /// What runs the pipelines.
        var tasks: [Task<Void, Never>] = []
    }

    private let host: PluginHost
    let feeds = ResourceFeeds()
    private let open = Mutex(Open(vaults: VaultSet(views: []), watchers: []))

    public init(host: PluginHost) { self.host = host }

    /// The pipeline of each open vault, by the vault's name.
    var pipelines: [String: NotePipeline] { open.withLock { $0.pipelines } }

    var vaults: VaultSet { open.withLock { $0.vaults } }
    /// One for each vault.
    var watchers: [VaultWatcher] { open.withLock { $0.watchers } }

    public var health: Health {
        let lagging = vaults.vaults.flatMap { vault in
            [
                vault.indexProblem.map { "'\(vault.name)' is served, but search lags behind: \($0)" },
                vault.journal.problem.map { "'\(vault.name)' is served, but what changes cannot be undone: \($0)" },
            ].compactMap(\.self)
        }
        guard !lagging.isEmpty else { return Health(.healthy) }
        return Health(.degraded, ["reason": .string(lagging.joined(separator: "; "))])
    }

    /// Opens the vaults and starts to index; answers come from the first moment, and say so while they are incomplete.
    public func activate(_ hook: Call) async throws {
        let settings = try host.configuration(as: Settings.self)
        let directory = try host.stateDirectory
        var opened = Open(vaults: VaultSet(views: []), watchers: [])
        var vaults: [Vault] = []
        var views: [VaultViews] = []
        var roots: [String] = []
        for path in settings.vaults.map(Self.realPath) where !roots.contains(path) { roots.append(path) }
        let models = settings.meaning.isEmpty ? nil : ModelSource(folder: settings.meaning)
        for (path, name) in zip(roots, VaultNames.unique(roots)) {
            let id = ContentVersion.of(Array(path.utf8)).prefix(12)
            let rules = (settings.policies ?? []).filter { $0.vault == nil || $0.vault == name || $0.vault.map(Self.realPath) == path }
            let vault = try Vault(
                root: path, name: name, indexPath: "\(directory)/index-\(id).sqlite",
                journalPath: "\(directory)/history-\(id).sqlite",
                meaning: models.map { ($0, "\(directory)/meaning-\(id).sqlite") }, access: VaultViews.common(rules))
            let onError: @Sendable (any Error) -> Void = { [log = host.log] error in
                log.error("vault could not be indexed", ["vault": path, "reason": "\(error)"])
            }
            // Of notes that only some callers may see their own views tell.
            let publish: @Sendable (Set<String>) -> Void = { [feeds, isOnly = roots.count == 1] paths in
                guard !paths.isEmpty else { return }
                feeds.add(paths.reduce(into: []) { $0.formUnion(NoteAddress.all(of: $1, vault: name, isOnly: isOnly)) })
            }
            vault.changes.follow(publish)
            let watcher = try VaultWatcher(vault: vault, onError: onError)
            views.append(
                VaultViews(base: vault, rules: rules) { access in
                    let view = try Vault(
                        viewOf: vault, access: access, indexPath: "\(directory)/index-\(id)-\(access.id).sqlite",
                        meaning: models.map { ($0, "\(directory)/meaning-\(id)-\(access.id).sqlite") })
                    view.changes.follow(publish)
                    return (view, try VaultWatcher(vault: view, onError: onError))
                })
            vaults.append(vault)
            opened.watchers.append(watcher)
            let store = try ProcessingStore(path: "\(directory)/processing-\(id).sqlite")
            opened.pipelines[vault.name] = NotePipeline(vault: vault, store: store, caller: .init(host))
        }
        opened.vaults = VaultSet(views: views)
        for vault in vaults { vault.meaning?.start() }
        for watcher in opened.watchers { watcher.start() }
        for view in views {
            // It is opened at its first call otherwise, which says what is wrong.
            do { try view.prepare() } catch {
                host.log.error("a caller's view of a vault could not be prepared", ["vault": view.base.name, "reason": "\(error)"])
            }
        }
        opened.tasks = process(with: Array(opened.pipelines.values))
        open.withLock { $0 = opened }
    }

    /// Runs pipelines with the processors that plugins contribute, now and after every change of these.
    private func process(with pipelines: [NotePipeline]) -> [Task<Void, Never>] {
        let following = Task { [host] in
            for await snapshot in host.registry.snapshots(of: "processors") {
                let processors = snapshot.contributions.compactMap(NoteProcessor.init)
                for pipeline in pipelines { pipeline.use(processors) }
            }
        }
        return [following] + pipelines.map { pipeline in Task { await pipeline.run() } }
    }

    public func suspend(_ hook: Call) async throws {
        let closed = open.withLock { open in
            defer { open = Open(vaults: VaultSet(views: []), watchers: []) }
            return open
        }
        for task in closed.tasks { task.cancel() }
        for watcher in closed.watchers { watcher.stop() }
        for vault in closed.vaults.views.map(\.base) { vault.meaning?.stop() }
        for view in closed.vaults.views { view.close() }
        for task in closed.tasks { await task.value }
    }

    /// The path itself when there is nothing there: opening it says so.
    private static func realPath(_ path: String) -> String {
        let real = realpath(path, nil)
        defer { free(real) }
        return real.map { String(cString: $0) } ?? path
    }
}
