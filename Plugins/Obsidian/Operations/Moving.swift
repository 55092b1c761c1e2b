import KnapPlugin

/// move_note.
extension ObsidianPlugin {
    struct MoveInput: Codable, Sendable {
        var path: String
        var to: String
        var preview: Bool?
        var vault: String?
    }

    struct MoveOutput: Codable, Sendable {
        var path: String
        /// How many files moved with a folder.
        var moved: Int?
        /// The notes and canvases whose links were written anew, where they are now.
        var updated: [String]
        /// How many more were.
        var more_updated: Int?
        /// Its number in the history; none in a preview.
        var change: Int64?
        /// Of a preview: the unified format.
        var diff: String?
        /// How many more files would change.
        var more_diffs: Int?
        var warning: String?
    }

    func moveNote(_ input: MoveInput, _ call: Call) throws -> MoveOutput {
        let vault = try vaults.vault(input.vault, call)
        // A link that the index does not know would be left behind.
        try vault.synchronize { false }
        return try vault.change {
            let move = try VaultMove(input.path, to: input.to, in: vault)
            let changes = try move.changes()
            let named = NamedFiles(changes)
            var output = MoveOutput(
                path: move.to.text + (move.isFolder ? "/" : ""), moved: move.isFolder ? move.moved.count : nil,
                updated: named.paths, more_updated: named.more)
            if input.preview == true {
                let preview = Preview(changes, try TokenBudget(nil))
                (output.diff, output.more_diffs) = (preview.diff, preview.more)
            } else {
                output.change = try move.apply(changes)
                output.warning = vault.renameWarning
            }
            return output
        }
    }

    /// Moves a file and rewrites the links that would lead elsewhere, all of it or nothing. Returns the notes and
    /// canvases that were rewritten.
    static func move(
        _ from: VaultPath, _ to: VaultPath, in vault: Vault
    ) throws -> (updated: [String], change: Int64?) {
        let move = VaultMove(file: from, to: to, in: vault)
        let changes = try move.changes()
        return (NamedFiles(changes).paths, try move.apply(changes))
    }
}
