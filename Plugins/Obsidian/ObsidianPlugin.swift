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
        .blocking("vault.rename_heading", renameHeading), .blocking("vault.rename_tag", renameTag),
    ]

    private struct Settings: Codable {
        var vaults: [String]
    }

    private struct Open {
        var vaults: VaultSet
        var watchers: [VaultWatcher]
    }

    private let host: PluginHost
    private let open = Mutex(Open(vaults: VaultSet(vaults: []), watchers: []))

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

    /// Opens the vaults and starts to index; answers come from the first moment, and say so while they are incomplete.
    public func activate(_ hook: Call) async throws {
        let settings = try host.configuration(as: Settings.self)
        let directory = try host.stateDirectory
        var opened = Open(vaults: VaultSet(vaults: []), watchers: [])
        var vaults: [Vault] = []
        var roots: [String] = []
        for path in settings.vaults.map(Self.realPath) where !roots.contains(path) { roots.append(path) }
        for (path, name) in zip(roots, VaultNames.unique(roots)) {
            let id = ContentVersion.of(Array(path.utf8)).prefix(12)
            let vault = try Vault(
                root: path, name: name, indexPath: "\(directory)/index-\(id).sqlite",
                journalPath: "\(directory)/history-\(id).sqlite")
            let watcher = try VaultWatcher(vault: vault) { [log = host.log] error in
                log.error("vault could not be indexed", ["vault": path, "reason": "\(error)"])
            }
            vaults.append(vault)
            opened.watchers.append(watcher)
        }
        opened.vaults = VaultSet(vaults: vaults)
        for watcher in opened.watchers { watcher.start() }
        open.withLock { $0 = opened }
    }

    public func suspend(_ hook: Call) async throws {
        let closed = open.withLock { open in
            defer { open = Open(vaults: VaultSet(vaults: []), watchers: []) }
            return open
        }
        for watcher in closed.watchers { watcher.stop() }
    }

    /// The path itself when there is nothing there: opening it says so.
    private static func realPath(_ path: String) -> String {
        let real = realpath(path, nil)
        defer { free(real) }
        return real.map { String(cString: $0) } ?? path
    }
}
