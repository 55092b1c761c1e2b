import KnapPlugin
import Synchronization

/// One vault as each of its callers may see it.
///
/// A view is a vault of its own on the same files, with an index of only what it shows: whatever asks it, in whatever
/// way, cannot come upon what it does not. All views share the journal, and change the files one at a time.
final class VaultViews: Sendable {
    private struct State {
        var views: [PathAccess: (vault: Vault, watcher: VaultWatcher)] = [:]
        var isClosed = false
    }

    /// What callers see whom no rule of their own concerns.
    let base: Vault
    private let rules: [PathRule]
    private let open: @Sendable (PathAccess) throws -> (Vault, VaultWatcher)
    private let state = Mutex(State())

    init(base: Vault, rules: [PathRule], open: @escaping @Sendable (PathAccess) throws -> (Vault, VaultWatcher)) {
        self.base = base
        self.rules = rules
        self.open = open
    }

    /// The rules of a vault that concern everybody.
    static func common(_ rules: [PathRule]) -> PathAccess { PathAccess(rules.filter { $0.callers == nil }) }

    /// The vault as a caller sees it. Its index is made when it is first asked for.
    func view(for principal: String) throws -> Vault {
        let access = PathAccess(rules.filter { $0.concerns(principal) })
        if access == base.files.access { return base }
        return try state.withLock { state in
            if let known = state.views[access] { return known.vault }
            guard !state.isClosed else { throw VaultError(.unavailable, "the vault '\(base.name)' is being closed") }
            let made = try open(access)
            state.views[access] = made
            made.0.meaning?.start()
            made.1.start()
            return made.0
        }
    }

    /// Opens those that can be known to be asked for, so that their indexes are made by then.
    func prepare() throws {
        for caller in Set(rules.flatMap { $0.callers ?? [] }) where !caller.contains("*") && !caller.contains("?") {
            _ = try view(for: caller)
        }
    }

    func close() {
        let views = state.withLock { state in
            state.isClosed = true
            defer { state.views = [:] }
            return Array(state.views.values)
        }
        for view in views {
            view.watcher.stop()
            view.vault.meaning?.stop()
        }
    }
}
