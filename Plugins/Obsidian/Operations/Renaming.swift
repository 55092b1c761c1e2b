import KnapPlugin

/// rename_heading, rename_tag.
extension ObsidianPlugin {
    struct RenameHeadingInput: Codable, Sendable {
        var path: String
        var heading: String
        var to: String
        var preview: Bool?
        var max_tokens: Int?
        var vault: String?
    }

    struct RenameTagInput: Codable, Sendable {
        var tag: String
        var to: String
        var preview: Bool?
        var max_tokens: Int?
        var vault: String?
    }

    struct RenameOutput: Codable, Sendable {
        /// How many files were changed, or would be.
        var total: Int
        var updated: [String]
        var more_updated: Int?
        /// Its number in the history; none in a preview.
        var change: Int64?
        /// Of a preview: the unified format.
        var diff: String?
        /// How many more files would change.
        var more_diffs: Int?
        var warning: String?
    }

    func renameHeading(_ input: RenameHeadingInput, _ call: Call) throws -> RenameOutput {
        let vault = try vaults.vault(input.vault, call)
        let budget = try TokenBudget(input.max_tokens)
        try vault.synchronize { false }
        return try vault.change {
            let path = try vault.find(input.path)
            guard path.isNote else { throw VaultError(.invalidArgument, "'\(path)' is not a note") }
            let changes = try Self.headingChanges(input.heading, to: input.to, of: path, in: vault)
            return try Self.rename("rename_heading", changes, isPreview: input.preview == true, budget, in: vault)
        }
    }

    /// The note itself first, then those with links to what has a new name.
    static func headingChanges(
        _ heading: String, to wanted: String, of path: VaultPath, in vault: Vault
    ) throws -> [FileChange] {
        let text = try vault.readText(path).text
        let resolver = vault.resolver
        func relinked(_ text: String, in source: String, _ rename: SubpathRename) throws(VaultError) -> String? {
            let editor = LinkEditor(path: source) { link throws(VaultError) in
                guard !link.subpath.isEmpty, resolver.resolve(link.target, from: source) == path.text,
                    let subpath = try rename.subpath(link.subpath, of: link, in: source)
                else { return nil }
                return LinkDestination(target: link.target, subpath: subpath)
            }
            return try editor.edit(text, isCanvas: VaultPath(trusted: source).isCanvas)
        }
        let rename = try SubpathRename(heading, to: wanted, in: text, path: path) { text, rename throws(VaultError) in
            try relinked(text, in: path.text, rename) ?? text
        }
        var changes: [FileChange] = []
        if !rename.text.utf8.elementsEqual(text.utf8) {
            changes.append(.write(path, before: Array(text.utf8), after: Array(rename.text.utf8)))
        }
        let links = try vault.index.links(withKey: NoteIndex.key(ofTarget: path.text)).filter { !$0.subpath.isEmpty }
        for source in Set(links.map(\.source)).subtracting([path.text]).sorted() {
            let place = VaultPath(trusted: source)
            guard let text = try vault.textToRewrite(place), let edited = try relinked(text, in: source, rename) else { continue }
            changes.append(.write(place, before: Array(text.utf8), after: Array(edited.utf8)))
        }
        return changes
    }

    func renameTag(_ input: RenameTagInput, _ call: Call) throws -> RenameOutput {
        let vault = try vaults.vault(input.vault, call)
        let budget = try TokenBudget(input.max_tokens)
        let tag = try TagRename.name(input.tag, argument: "tag")
        let wanted = try TagRename.name(input.to, argument: "to")
        guard !tag.utf8.elementsEqual(wanted.utf8) else { throw VaultError(.invalidArgument, "to is the tag '#\(tag)' itself") }
        try vault.synchronize { false }
        return try vault.change {
            let changes = try Self.tagChanges(tag, to: wanted, in: vault)
            return try Self.rename("rename_tag", changes, isPreview: input.preview == true, budget, in: vault)
        }
    }

    static func tagChanges(_ tag: String, to wanted: String, in vault: Vault) throws -> [FileChange] {
        let notes = try vault.index.notes(taggedWith: tag)
        guard !notes.isEmpty else {
            let hint = nearest(to: tag, among: try vault.index.tags(containing: nil).map(\.name))
            throw VaultError(.notFound, "no note has the tag '#\(tag)'\(hint.map { "; did you mean '#\($0)'?" } ?? "")")
        }
        let rename = TagRename(tag, to: wanted)
        return try notes.compactMap { note in
            let path = VaultPath(trusted: note)
            guard let text = try vault.textToRewrite(path), let edited = try rename.rewrite(text, path: note) else { return nil }
            return .write(path, before: Array(text.utf8), after: Array(edited.utf8))
        }
    }

    private static func rename(
        _ operation: String, _ changes: [FileChange], isPreview: Bool, _ budget: TokenBudget, in vault: Vault
    ) throws -> RenameOutput {
        let named = NamedFiles(changes)
        var output = RenameOutput(total: changes.count, updated: named.paths, more_updated: named.more)
        if isPreview {
            let preview = Preview(changes, budget)
            (output.diff, output.more_diffs) = (preview.diff, preview.more)
        } else if !changes.isEmpty {
            output.change = try vault.apply(operation, changes).id
            output.warning = vault.renameWarning
        }
        return output
    }
}
