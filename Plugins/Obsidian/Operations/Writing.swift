import KnapPlugin

/// write_note, edit_note, delete_note.
extension ObsidianPlugin {
    struct WriteInput: Codable, Sendable {
        var path: String
        var content: String
        var overwrite: Bool?
        var version: String?
        var vault: String?
    }

    struct WriteOutput: Codable, Sendable {
        var path: String
        var version: String
        var created: Bool
        /// Its number in the history; none where nothing changed.
        var change: Int64?
        var warning: String?
    }

    func writeNote(_ input: WriteInput, _ call: Call) throws -> WriteOutput {
        let vault = try vaults.vault(input.vault, call)
        let path = try Self.notePath(input.path)
        return try vault.change {
            let target = try vault.placeOfNew(path)
            let isThere = vault.files.stamp(target) != nil
            if isThere, input.overwrite != true, input.version == nil { throw Self.alreadyExists(target) }
            let made = try vault.write(target, input.content, expecting: input.version)
            return WriteOutput(
                path: target.text, version: made.version, created: !isThere, change: made.change, warning: vault.warning)
        }
    }

    static func notePath(_ text: String) throws(VaultError) -> VaultPath {
        let path = try VaultPath(text).asNote
        guard path.isNote else {
            throw VaultError(.invalidArgument, "path '\(path)' does not end in .md; only notes can be written")
        }
        return path
    }

    static func alreadyExists(_ path: VaultPath) -> VaultError {
        VaultError(
            .alreadyExists,
            "there is already a note '\(path)'; use edit_note to change it, or overwrite: true to replace it")
    }

    struct EditInput: Codable, Sendable {
        var path: String
        /// See ``EditRequest/Action``.
        var action: String?
        var find: String?
        var content: String?
        var heading: String?
        var block: String?
        /// From 1: `12`, `12-20` or `[12, 20]`.
        var lines: JSON?
        var property: String?
        var value: JSON?
        var preview: Bool?
        var version: String?
        var vault: String?
    }

    struct EditOutput: Codable, Sendable {
        var path: String
        /// Of a preview: the version that there is.
        var version: String
        /// The lines around the change, to see that it hit the right place; of a preview the unified format.
        var content: String
        /// Its number in the history; none where nothing changed.
        var change: Int64?
        var warning: String?
    }

    func editNote(_ input: EditInput, _ call: Call) throws -> EditOutput {
        let vault = try vaults.vault(input.vault, call)
        let path = try vault.find(input.path)
        guard path.isNote else { throw VaultError(.invalidArgument, "'\(path)' is not a note") }
        let request = try EditRequest(input)
        return try Self.patiently(retrying: input.version == nil) { try edit(path, request, input, in: vault) }
    }

    /// An edit is of what is there: where an editor saved in the moment between, it is made again of that.
    static func patiently<T>(retrying: Bool, _ body: () throws -> T) throws -> T {
        let end = ContinuousClock.now + patience
        while retrying, ContinuousClock.now < end {
            do { return try body() } catch let error as VaultError where error.code == .aborted {}
        }
        return try body()
    }

    private static let patience = Duration.seconds(5)

    private func edit(
        _ path: VaultPath, _ request: EditRequest, _ input: EditInput, in vault: Vault
    ) throws -> EditOutput {
        try vault.change {
            let (text, version, _) = try vault.readText(path)
            let edit = NoteEdit(request, text: text, path: path)
            if let expected = input.version, expected != version {
                throw Conflict.error(path, expected: expected, version: version, current: edit.shown() ?? text)
            }
            let edited = try edit.applied()
            if input.preview == true {
                let change = FileChange.write(path, before: Array(text.utf8), after: Array(edited.utf8))
                let diff = edited.utf8.elementsEqual(text.utf8) ? "" : Difference.bounded(Self.diff(of: [change]))
                return EditOutput(path: path.text, version: version, content: diff)
            }
            let made = try vault.write(path, edited, expecting: version, operation: "edit")
            return EditOutput(
                path: path.text, version: made.version, content: Difference.shown(from: text, to: edited),
                change: made.change, warning: vault.warning)
        }
    }

    struct DeleteInput: Codable, Sendable {
        var path: String
        var version: String?
        var vault: String?
    }

    struct DeleteOutput: Codable, Sendable {
        var path: String
        /// None: it is in the history alone, as the vault's settings have it.
        var trashed: String?
        /// Notes whose links now lead nowhere.
        var broken_links_in: [String]
        /// Its number in the history.
        var change: Int64?
        var warning: String?
    }

    func deleteNote(_ input: DeleteInput, _ call: Call) throws -> DeleteOutput {
        let vault = try vaults.vault(input.vault, call)
        let path = try vault.find(input.path)
        try vault.synchronize { false }
        return try vault.change {
            let sources = try vault.backlinks(to: path.text).map(\.path)
            if let expected = input.version { try vault.check(path, isOf: expected) }
            // The bytes of a note are in the journal too; a film is in the trash alone.
            let change: FileChange =
                if path.isLinking { .delete(path, before: try vault.files.read(path).bytes) } else {
                    .move(path, to: try vault.files.freeInTrash(path))
                }
            let done = try vault.apply("delete", [change])
            return DeleteOutput(
                path: path.text, trashed: vault.dispose(done.files[0].trashed ?? change.path.text, of: path),
                broken_links_in: Set(sources).subtracting([path.text]).sorted(), change: done.id,
                warning: vault.warning)
        }
    }
}
