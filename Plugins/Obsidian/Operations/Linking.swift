import KnapPlugin

/// note_links, list_tags.
extension ObsidianPlugin {
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
