import KnapPlugin

/// history, undo.
extension ObsidianPlugin {
    struct HistoryInput: Codable, Sendable {
        var change: Int64?
        var path: String?
        var limit: Int?
        var offset: Int?
        var max_tokens: Int?
        var vault: String?
    }

    struct HistoryOutput: Codable, Sendable {
        struct Change: Codable, Sendable {
            struct File: Codable, Sendable {
                var path: String
                /// Where it was before.
                var from: String?
                /// created, edited, deleted or moved.
                var what: String
                /// Where the vault's trash has it.
                var trashed: String?
            }
            var change: Int64
            var time: String
            /// write, edit, move, rename_heading, rename_tag, delete, batch, merge or undo.
            var operation: String
            var undoes: Int64?
            /// The change that undid it, unless that was undone too.
            var undone_by: Int64?
            var files: [File]
            /// How many more files it changed.
            var more_files: Int?
        }
        var total: Int
        var changes: [Change]
        /// Of the change that was asked for: the unified format.
        var diff: String?
        var next_offset: Int?
    }

    /// What Knap changed, newest first; or one change and its difference.
    func history(_ input: HistoryInput, _ call: Call) throws -> HistoryOutput {
        let vault = try vaults.vault(input.vault, call)
        var budget = try TokenBudget(input.max_tokens)
        if let id = input.change {
            let entry = try Self.entry(id, in: vault)
            let lines = LineDifference.lines(of: Self.diff(of: entry.files.map(\.change)))
            let page = try Page(limit: input.limit, offset: input.offset, standard: 2000, most: 100_000)
            let shown = budget.fitting(lines.dropFirst(page.offset).prefix(page.limit)) { $0.utf8.count }
            return HistoryOutput(
                total: 1, changes: [try Self.shown(entry, in: vault)], diff: shown.joined(),
                next_offset: page.next(shown: shown.count, of: lines.count))
        }
        let page = try Page(limit: input.limit, offset: input.offset, standard: 20, most: 500)
        let path = try input.path.map { try VaultPath($0.hasSuffix("/") ? String($0.dropLast()) : $0).text }
        let (entries, total) = try vault.journal.entries(about: path, limit: page.limit, offset: page.offset)
        let shown = budget.fitting(try entries.map { try Self.shown($0, in: vault) }) { change in
            change.files.reduce(80) { $0 + $1.path.utf8.count + 40 }
        }
        return HistoryOutput(
            total: total, changes: shown, next_offset: page.next(shown: shown.count, of: total))
    }

    private static func entry(_ id: Int64, in vault: Vault) throws -> ChangeJournal.Entry {
        guard let entry = try vault.journal.entry(id) else {
            throw VaultError(.notFound, "there is no change \(id); history lists those that there are")
        }
        return entry
    }

    /// The change that undid another one and was not undone itself.
    private static func undoer(of entry: ChangeJournal.Entry, in vault: Vault) throws -> Int64? {
        guard let by = entry.undoneBy, let undoer = try vault.journal.entry(by) else { return nil }
        return try Self.undoer(of: undoer, in: vault) == nil ? by : nil
    }

    private static let shownFiles = 20

    private static func shown(_ entry: ChangeJournal.Entry, in vault: Vault) throws -> HistoryOutput.Change {
        let files = entry.files.prefix(shownFiles).map { file in
            let what =
                switch file.change.content {
                case .kept, .folder: "moved"
                case .deleted: "deleted"
                case .written(nil, _): "created"
                case .written: file.change.from == nil ? "edited" : "moved"
                }
            let mark = file.change.isFolder ? "/" : ""
            return HistoryOutput.Change.File(
                path: file.change.path.text + mark, from: file.change.from.map { $0.text + mark }, what: what, trashed: file.trashed)
        }
        let more = entry.files.count - files.count
        return HistoryOutput.Change(
            change: entry.id, time: Timestamp.text(entry.time), operation: entry.operation, undoes: entry.undoes,
            undone_by: try undoer(of: entry, in: vault), files: files, more_files: more > 0 ? more : nil)
    }

    /// In the unified format, one file after the other.
    static func diff(of changes: [FileChange]) -> String {
        changes.map { change in
            let (old, new) = change.contents
            let texts = [old, new].map { bytes in bytes.map { String(validating: $0, as: UTF8.self) } ?? "" }
            let isSame = change.content == .kept || change.isFolder
            let from = old == nil && !isSame ? "/dev/null" : (change.from ?? change.path).text
            let to = new == nil && !isSame ? "/dev/null" : change.path.text
            let head = "--- \(from)\n+++ \(to)\n"
            guard let old = texts[0], let new = texts[1] else { return head + "Binary files differ\n" }
            return head + LineDifference(from: old, to: new).unified()
        }.joined()
    }

    struct UndoInput: Codable, Sendable {
        var changes: [Int64]
        var preview: Bool?
        var vault: String?
    }

    struct UndoOutput: Codable, Sendable {
        struct Undone: Codable, Sendable {
            var change: Int64
            /// The number of the undoing, which can itself be undone; none in a preview, or where nothing was left to do.
            var by: Int64?
            var files: [String]
        }
        var undone: [Undone]
        /// The change at which it ended, because it could not be undone, and why.
        var stopped_at: Int64?
        var conflicts: [Vault.UndoConflict]?
        /// Of a preview: the unified format.
        var diff: String?
        /// How many more files would change.
        var more_diffs: Int?
        var warning: String?
    }

    /// Undoes changes, the newest first, each wholly or not at all. It ends at one that conflicts with what was edited
    /// since, and says where.
    func undo(_ input: UndoInput, _ call: Call) throws -> UndoOutput {
        let vault = try vaults.vault(input.vault, call)
        let ids = Set(input.changes).sorted(by: >)
        guard !ids.isEmpty else { throw VaultError(.invalidArgument, "changes is empty; history lists those that there are") }
        guard input.preview != true || ids.count == 1 else {
            throw VaultError(.invalidArgument, "only one change can be previewed: the next one depends on what the first one does")
        }
        // A link that the index does not know would be left behind.
        try vault.synchronize { false }
        return try vault.change {
            var output = UndoOutput(undone: [])
            // Before anything is done.
            let entries = try ids.map { try Self.entry($0, in: vault) }
            for entry in entries {
                if let by = try Self.undoer(of: entry, in: vault) {
                    throw VaultError(
                        .failedPrecondition,
                        "change \(entry.id) was undone already, by \(by); undo that one to have it back")
                }
            }
            for entry in entries {
                let id = entry.id
                switch vault.planUndo(of: entry) {
                case .conflicts(let conflicts):
                    (output.stopped_at, output.conflicts, output.warning) = (id, conflicts, vault.warning)
                    return output
                case .possible(let changes):
                    let files = changes.map(\.path.text).sorted()
                    if input.preview == true {
                        output.undone.append(.init(change: id, files: files))
                        let preview = Preview(changes, try TokenBudget(nil))
                        (output.diff, output.more_diffs) = (preview.diff, preview.more)
                        return output
                    }
                    let done: Vault.Done?
                    do {
                        done = changes.isEmpty ? nil : try vault.apply("undo", changes, undoing: id)
                    } catch let error as VaultError where !output.undone.isEmpty {
                        // What was undone before it is to be told.
                        let path = changes[0].path.text
                        (output.stopped_at, output.conflicts) = (id, [.init(path: path, reason: error.message)])
                        return output
                    }
                    output.undone.append(.init(change: id, by: done?.id, files: files))
                }
            }
            output.warning = vault.warning
            return output
        }
    }
}
