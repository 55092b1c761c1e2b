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
        let path = try VaultPath(input.path).asNote
        guard path.isNote else {
            throw VaultError(.invalidArgument, "path '\(path)' does not end in .md; only notes can be written")
        }
        return try vault.change {
            let existing = Self.existing(path, vault)
            if let existing, input.overwrite != true, input.version == nil {
                throw VaultError(
                    .alreadyExists,
                    "there is already a note '\(existing)'; use edit_note to change it, or overwrite: true to replace it")
            }
            let target = existing ?? path
            let made = try vault.write(target, input.content, expecting: input.version)
            return WriteOutput(
                path: target.text, version: made.version, created: existing == nil, change: made.change,
                warning: vault.warning)
        }
    }

    /// The file that a path means on a file system that tells upper and lower case apart, for people who do not.
    private static func existing(_ path: VaultPath, _ vault: Vault) -> VaultPath? {
        if vault.files.stamp(path) != nil { return path }
        let wanted = folded(path.text)
        return vault.paths.first { folded($0) == wanted }.map(VaultPath.init(trusted:))
    }

    struct EditInput: Codable, Sendable {
        var path: String
        /// replace, append, prepend, set_property, remove_property.
        var action: String?
        var find: String?
        var content: String?
        var heading: String?
        var property: String?
        var value: JSON?
        var version: String?
        var vault: String?
    }

    struct EditOutput: Codable, Sendable {
        var path: String
        var version: String
        /// The lines around the change, to see that it hit the right place.
        var content: String
        /// Its number in the history; none where nothing changed.
        var change: Int64?
        var warning: String?
    }

    func editNote(_ input: EditInput, _ call: Call) throws -> EditOutput {
        let vault = try vaults.vault(input.vault, call)
        let path = try vault.find(input.path)
        guard path.isNote else { throw VaultError(.invalidArgument, "'\(path)' is not a note") }
        // An edit is of what is there: where an editor saved in the moment between, it is made again of that.
        let end = ContinuousClock.now + Self.patience
        while input.version == nil, ContinuousClock.now < end {
            do { return try edit(path, input, in: vault) } catch let error as VaultError where error.code == .aborted {}
        }
        return try edit(path, input, in: vault)
    }

    private static let patience = Duration.seconds(5)

    private func edit(_ path: VaultPath, _ input: EditInput, in vault: Vault) throws -> EditOutput {
        try vault.change {
            let (text, version, _) = try vault.readText(path)
            let edited = try NoteEdit(input, text: text, path: path).applied()
            let made = try vault.write(path, edited, expecting: input.version ?? version, operation: "edit")
            return EditOutput(
                path: path.text, version: made.version, content: Difference.shown(from: text, to: edited),
                change: made.change, warning: vault.warning)
        }
    }

    struct DeleteInput: Codable, Sendable {
        var path: String
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

/// One edit of a note's text.
struct NoteEdit {
    private let input: ObsidianPlugin.EditInput
    private let text: String
    private let path: VaultPath

    init(_ input: ObsidianPlugin.EditInput, text: String, path: VaultPath) {
        self.input = input
        self.text = text
        self.path = path
    }

    static let actions = ["replace", "append", "prepend", "set_property", "remove_property"]

    func applied() throws(VaultError) -> String {
        switch input.action ?? (input.find != nil ? "replace" : "append") {
        case "replace": return try replaced()
        case "append": return try inserted(atEnd: true)
        case "prepend": return try inserted(atEnd: false)
        case "set_property": return try withProperty(try required(input.value, "value"))
        case "remove_property": return try withProperty(nil)
        case let other:
            let hint = nearest(to: other, among: Self.actions).map { "; did you mean '\($0)'?" } ?? ""
            throw VaultError(.invalidArgument, "action '\(other)' is unknown\(hint); it is one of \(Self.actions.joined(separator: ", "))")
        }
    }

    /// The text to find must be there exactly once: an edit in the wrong place is worse than none.
    private func replaced() throws(VaultError) -> String {
        let find = try required(input.find, "find")
        let content = try required(input.content, "content")
        guard !find.isEmpty else { throw VaultError(.invalidArgument, "find is empty; give the text to replace") }
        var scope = text.startIndex..<text.endIndex
        if let heading = input.heading {
            let section = try Section.find(heading, in: text, path: path).whole
            scope = section.startIndex..<section.endIndex
        }
        let places = text[scope].ranges(of: find)
        guard let place = places.first else {
            let lines = text.split(separator: "\n").map(String.init)
            let near = nearest(to: find, among: lines).map { "; the nearest line is '\($0)'" } ?? ""
            throw VaultError(.notFound, "'\(path)' does not contain the text to find\(near); it must match exactly, also in white space")
        }
        guard places.count == 1 else {
            throw VaultError(
                .failedPrecondition,
                "the text to find is in '\(path)' \(places.count) times; give more of what surrounds the one you mean, or a heading")
        }
        return text.replacingCharacters(in: place, with: content)
    }

    private func inserted(atEnd: Bool) throws(VaultError) -> String {
        let content = try required(input.content, "content")
        let scope: Substring
        if let heading = input.heading {
            scope = try Section.find(heading, in: text, path: path).body
        } else {
            scope = text[bodyStart...]
        }
        if !atEnd { return text.replacingCharacters(in: scope.startIndex..<scope.startIndex, with: ended(content)) }
        // Blank lines before the next heading stay where they are.
        var end = scope.endIndex
        while end > scope.startIndex, text[text.index(before: end)].isNewline { end = text.index(before: end) }
        let isEmpty = end == scope.startIndex
        let before = isEmpty && (end == text.startIndex || text[text.index(before: end)].isNewline) ? "" : "\n"
        let rest = text[end...]
        let after = rest.isEmpty ? "\n" : rest.first?.isNewline == true ? "" : "\n"
        let trimmed = content.hasSuffix("\n") ? String(content.dropLast()) : content
        return text[..<end] + before + trimmed + after + rest
    }

    /// Behind the front matter.
    private var bodyStart: String.Index {
        guard let front = NoteParser.parse(text).frontMatter else { return text.startIndex }
        return text.utf8.index(text.utf8.startIndex, offsetBy: front.range.upperBound)
    }

    private func withProperty(_ value: JSON?) throws(VaultError) -> String {
        let key = try required(input.property, "property")
        do {
            guard let value else { return try FrontMatterEditor.remove(key, in: text) }
            return try FrontMatterEditor.set(key, to: value, in: text)
        } catch {
            throw VaultError(.failedPrecondition, "the property '\(key)' of '\(path)' cannot be changed: \(error)")
        }
    }

    private func required<T>(_ value: T?, _ name: String) throws(VaultError) -> T {
        guard let value else {
            throw VaultError(.invalidArgument, "the argument '\(name)' is required for action '\(input.action ?? "replace")'")
        }
        return value
    }

    private func ended(_ content: String) -> String { content.hasSuffix("\n") ? content : content + "\n" }
}

extension String {
    func replacingCharacters(in range: Range<String.Index>, with other: String) -> String {
        String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}

/// What an edit changed, with two lines around it.
enum Difference {
    static func shown(from old: String, to new: String) -> String {
        let before = old.split(separator: "\n", omittingEmptySubsequences: false)
        let after = new.split(separator: "\n", omittingEmptySubsequences: false)
        var start = 0
        while start < before.count, start < after.count, before[start] == after[start] { start += 1 }
        var tail = 0
        while tail < before.count - start, tail < after.count - start,
            before[before.count - 1 - tail] == after[after.count - 1 - tail]
        { tail += 1 }
        let first = max(0, start - 2)
        let last = min(after.count, after.count - tail + 2, first + 60)
        return after[first..<max(first, last)].joined(separator: "\n")
    }
}
