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
        var vaults = VaultSet(open: [])
        /// What runs the pipelines.
        var tasks: [Task<Void, Never>] = []
    }

    private let host: PluginHost
    let feeds = ResourceFeeds()
    private let open = Mutex(Open())

    public init(host: PluginHost) { self.host = host }

    var vaults: VaultSet { open.withLock { $0.vaults } }

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

    public func activate(_ hook: Call) async throws {
        let settings = try host.configuration(as: Settings.self)
        let directory = try host.stateDirectory
        var roots: [String] = []
        for path in settings.vaults.map(Self.realPath) where !roots.contains(path) { roots.append(path) }
        let models = settings.meaning.isEmpty ? nil : ModelSource(folder: settings.meaning)
        let vaults = try zip(roots, VaultNames.unique(roots)).map { root, name in
            let rules = (settings.policies ?? []).filter { $0.vault == nil || $0.vault == name || $0.vault.map(Self.realPath) == root }
            return try OpenVault(
                root: root, name: name, isOnly: roots.count == 1, rules: rules, directory: directory, models: models, feeds: feeds,
                host: host)
        }
        for vault in vaults { vault.start(host) }
        let tasks = process(with: vaults.map(\.pipeline))
        open.withLock { $0 = Open(vaults: VaultSet(open: vaults), tasks: tasks) }
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
            defer { open = Open() }
            return open
        }
        for task in closed.tasks { task.cancel() }
        for vault in closed.vaults.open { vault.stop() }
        for task in closed.tasks { await task.value }
    }

    /// The path itself when there is nothing there: opening it says so.
    private static func realPath(_ path: String) -> String {
        let real = realpath(path, nil)
        defer { free(real) }
        return real.map { String(cString: $0) } ?? path
    }
}
