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
    ]

    private struct Settings: Codable {
        var vaults: [String]
        /// Where the model of search by meaning is; empty for none.
        var meaning: String
    }

    private struct Open {
        var vaults: VaultSet
        var watchers: [VaultWatcher]
    }

    private let host: PluginHost
    private let open = Mutex(Open(vaults: VaultSet(vaults: []), watchers: []))

    public init(host: PluginHost) { self.host = host }

    var vaults: VaultSet { open.withLock { $0.vaults } }
    /// One for each vault.
    var watchers: [VaultWatcher] { open.withLock { $0.watchers } }

    public var health: Health {
        let lagging = vaults.vaults.compactMap { vault in vault.indexProblem.map { "'\(vault.name)' is served, but search lags behind: \($0)" } }
        guard !lagging.isEmpty else { return Health(.healthy) }
        return Health(.degraded, ["reason": .string(lagging.joined(separator: "; "))])
    }

    /// Opens the vaults and starts to index; answers come from the first moment, and say so while they are incomplete.
    public func activate(_ hook: Call) async throws {
        let settings = try host.configuration(as: Settings.self)
        let directory = try host.stateDirectory
        var opened = Open(vaults: VaultSet(vaults: []), watchers: [])
        var vaults: [Vault] = []
        var roots: [String] = []
        for path in settings.vaults.map(Self.realPath) where !roots.contains(path) { roots.append(path) }
        let models = settings.meaning.isEmpty ? nil : ModelSource(folder: settings.meaning)
        for (path, name) in zip(roots, VaultNames.unique(roots)) {
            let id = ContentVersion.of(Array(path.utf8)).prefix(12)
            let vault = try Vault(
                root: path, name: name, indexPath: "\(directory)/index-\(id).sqlite",
                journalPath: "\(directory)/history-\(id).sqlite",
                meaning: models.map { ($0, "\(directory)/meaning-\(id).sqlite") })
            let watcher = try VaultWatcher(vault: vault) { [log = host.log] error in
                log.error("vault could not be indexed", ["vault": path, "reason": "\(error)"])
            }
            vaults.append(vault)
            opened.watchers.append(watcher)
        }
        opened.vaults = VaultSet(vaults: vaults)
        for vault in vaults { vault.meaning?.start() }
        for watcher in opened.watchers { watcher.start() }
        open.withLock { $0 = opened }
    }

    public func suspend(_ hook: Call) async throws {
        let closed = open.withLock { open in
            defer { open = Open(vaults: VaultSet(vaults: []), watchers: []) }
            return open
        }
        for watcher in closed.watchers { watcher.stop() }
        for vault in closed.vaults.vaults { vault.meaning?.stop() }
    }

    /// The path itself when there is nothing there: opening it says so.
    private static func realPath(_ path: String) -> String {
        let real = realpath(path, nil)
        defer { free(real) }
        return real.map { String(cString: $0) } ?? path
    }
}
