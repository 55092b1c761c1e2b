/// What the move of files does to the vault's links: each leads where it led before, or to the file that moved.
struct MovePlan {
    private let vault: Vault
    private let moved: [String: String]
    private let rewriter: LinkRewriter

    /// - Parameter moved: Where files go, by where they are.
    init(_ moved: [String: String], in vault: Vault) {
        self.vault = vault
        self.moved = moved
        let before = vault.resolver
        var after = before
        for path in moved.keys { after.remove(path) }
        for path in moved.values { after.insert(path) }
        // Whether a short link is the only one of its name is not known to those who do not see all files.
        let isPartial = vault.isPartial
        let form = isPartial ? .absolute : vault.appSettings.newLinkFormat.flatMap(LinkForm.init(rawValue:)) ?? .shortest
        rewriter = LinkRewriter(before: before, after: after, moved: moved, form: form)
    }

    /// Past so many files all links of the vault are looked at, which costs less.
    private static let askedOneByOne = 256

    /// The notes and canvases with a link that has to be written anew, by where they are.
    ///
    /// Only links whose last part is an old or a new name can change where they lead, and those of what moves.
    func sources() throws -> [String] {
        let keys = Set(moved.flatMap { [NoteIndex.key(ofTarget: $0.key), NoteIndex.key(ofTarget: $0.value)] })
        var sources: Set<String> = []
        func look(_ links: [NoteIndex.StoredLink]) {
            for link in links where !sources.contains(link.source) && rewriter.changes(link.target, in: link.source) {
                sources.insert(link.source)
            }
        }
        if moved.count > Self.askedOneByOne {
            look(try vault.index.links().filter { moved[$0.source] != nil || keys.contains(NoteIndex.key(ofTarget: $0.target)) })
        } else {
            for key in keys { look(try vault.index.links(withKey: key)) }
            for path in moved.keys { look(try vault.index.links(from: path)) }
        }
        return sources.sorted()
    }

    /// Its text with the links in it written anew; nil when there is nothing to change.
    func rewrite(_ text: String, in source: String) throws(VaultError) -> String? { try rewriter.rewrite(text, in: source) }

    /// The same of bytes, which may be no text.
    func rewrite(_ bytes: [UInt8], in source: VaultPath) throws(VaultError) -> [UInt8]? {
        guard source.isLinking, let text = String(validating: bytes, as: UTF8.self) else { return nil }
        return try rewrite(text, in: source.text).map { Array($0.utf8) }
    }

    /// A file with its links written anew; nil where there is nothing to change, or nothing that can be read.
    func content(of source: String) throws -> FileChange.Content? {
        let path = VaultPath(trusted: source)
        guard path.isLinking else { return nil }
        guard let text = try vault.textToRewrite(path), let rewritten = try rewrite(text, in: source) else { return nil }
        return .written(before: Array(text.utf8), after: Array(rewritten.utf8))
    }
}
