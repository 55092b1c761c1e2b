import KnapPlugin

/// move_note, note_links, list_tags.
extension ObsidianPlugin {
    struct MoveInput: Codable, Sendable {
        var path: String
        var to: String
        var vault: String?
    }

    struct MoveOutput: Codable, Sendable {
        var path: String
        var updated: [String]
        /// Its number in the history.
        var change: Int64?
        var warning: String?
    }

    func moveNote(_ input: MoveInput, _ call: Call) throws -> MoveOutput {
        let vault = try vaults.vault(input.vault, call)
        let from = try vault.find(input.path)
        var to = try VaultPath(input.to.hasSuffix("/") ? input.to + from.name : input.to, argument: "to")
        if from.isNote { to = to.asNote }
        try to.checkNew(argument: "to")
        guard to != from else { throw VaultError(.invalidArgument, "to is where '\(from)' already is") }
        // A link that the index does not know would be left behind.
        try vault.synchronize { false }
        return try vault.change {
            let moved = try Self.move(from, to, in: vault)
            return MoveOutput(path: to.text, updated: moved.updated, change: moved.change, warning: vault.warning)
        }
    }

    /// Renames, and rewrites the links that would lead elsewhere, all of it or nothing. Returns the notes and
    /// canvases that were rewritten.
    static func move(
        _ from: VaultPath, _ to: VaultPath, in vault: Vault
    ) throws -> (updated: [String], change: Int64?) {
        let before = vault.resolver
        var after = before
        after.remove(from.text)
        after.insert(to.text)
        // Only links whose last part is the old or the new name can change where they lead, and the note's own.
        let keys = Set([NoteIndex.key(ofTarget: from.text), NoteIndex.key(ofTarget: to.text)])
        var sources = Set(try keys.flatMap { try vault.index.links(withKey: $0) }.map(\.source))
        sources.insert(from.text)
        var changes: [FileChange] = []
        for source in sources.sorted() {
            let path = VaultPath(trusted: source)
            let now = path == from ? to : path
            var content = FileChange.Content.kept
            let rewriter = LinkRewriter(
                old: source, new: now.text, before: before, after: after, moved: [from.text: to.text])
            if path.isLinking, let text = try linkingText(of: path, in: vault),
                let rewritten = path.isCanvas ? rewriter.rewrite(canvas: text) : rewriter.rewrite(text)
            {
                content = .written(before: Array(text.utf8), after: Array(rewritten.utf8))
            }
            if path == from {
                changes.append(.move(from, to: to, content))
            } else if content != .kept {
                changes.append(FileChange(path: path, content: content))
            }
        }
        let done = try vault.apply("move", changes)
        let updated = changes.filter { $0.content != .kept }.map(\.path.text)
        return (updated, done.id)
    }

    /// Nil for a file that has gone meanwhile, or is no text. Links in one that cannot be read would be left behind.
    private static func linkingText(of path: VaultPath, in vault: Vault) throws(VaultError) -> String? {
        do throws(VaultError) {
            return try vault.readText(path).text
        } catch {
            guard [.notFound, .failedPrecondition].contains(error.code) else { throw error }
            return nil
        }
    }

    struct LinksInput: Codable, Sendable {
        var path: String
        var limit: Int?
        var offset: Int?
        var vault: String?
    }

    struct LinksOutput: Codable, Sendable {
        struct Outgoing: Codable, Sendable {
            var link: String
            var line: Int
            /// The file it leads to; none: it leads nowhere.
            var path: String?
        }
        var path: String
        var outgoing: [Outgoing]
        var backlinks: [Vault.Backlink]
        var total_backlinks: Int
        var next_offset: Int?
        var indexing: Indexing?
    }

    func noteLinks(_ input: LinksInput, _ call: Call) throws -> LinksOutput {
        let vault = try vaults.vault(input.vault, call)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 100, most: 1000)
        let path = try vault.find(input.path)
        let resolver = vault.resolver
        let outgoing = try vault.index.links(from: path.text).map { link in
            LinksOutput.Outgoing(
                link: link.target + link.subpath, line: link.line + 1, path: resolver.resolve(link.target, from: path.text))
        }
        let backlinks = try vault.backlinks(to: path.text)
        let shown = Array(backlinks.dropFirst(page.offset).prefix(page.limit))
        return LinksOutput(
            path: path.text, outgoing: Array(outgoing.prefix(page.limit)), backlinks: shown, total_backlinks: backlinks.count,
            next_offset: page.next(shown: shown.count, of: backlinks.count), indexing: Indexing(vault))
    }

    struct TagsInput: Codable, Sendable {
        var query: String?
        var limit: Int?
        var offset: Int?
        var vault: String?
    }

    struct TagsOutput: Codable, Sendable {
        struct Tag: Codable, Sendable {
            var tag: String
            var notes: Int
        }
        var total: Int
        var tags: [Tag]
        var next_offset: Int?
        var indexing: Indexing?
    }

    func listTags(_ input: TagsInput, _ call: Call) throws -> TagsOutput {
        let vault = try vaults.vault(input.vault, call)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 200, most: 2000)
        let all = try vault.index.tags(containing: input.query)
        let shown = Array(all.dropFirst(page.offset).prefix(page.limit))
        return TagsOutput(
            total: all.count, tags: shown.map { .init(tag: $0.name, notes: $0.notes) },
            next_offset: page.next(shown: shown.count, of: all.count), indexing: Indexing(vault))
    }
}
