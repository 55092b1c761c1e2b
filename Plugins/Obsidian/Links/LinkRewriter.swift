/// Keeps links pointing to the same files when some of these move.
struct LinkRewriter {
    let before: LinkResolver
    let after: LinkResolver
    /// Where files are that were elsewhere.
    let moved: [String: String]
    let form: LinkForm

    /// Whether a link would lead elsewhere, or nowhere.
    func changes(_ target: String, in source: String) -> Bool { file(target, in: source) != nil }

    /// The text with the links that would otherwise lead elsewhere written anew; nil when there is nothing to change.
    ///
    /// - Parameter source: Where the file of the text was before.
    func rewrite(_ text: String, in source: String) throws(VaultError) -> String? {
        let editor = LinkEditor(path: source) { link throws(VaultError) in
            guard !link.target.isEmpty, let file = file(link.target, in: source) else { return nil }
            return LinkDestination(target: try target(for: file, like: link, in: source), subpath: link.subpath)
        }
        return try editor.edit(text, isCanvas: VaultPath(trusted: source).isCanvas)
    }

    /// The file that a link is to lead to, where the link as it is would not.
    private func file(_ target: String, in source: String) -> String? {
        guard !target.isEmpty, let was = before.resolve(target, from: source) else { return nil }
        let wanted = moved[was] ?? was
        return after.resolve(target, from: moved[source] ?? source) == wanted ? nil : wanted
    }

    private func target(for path: String, like link: NoteLink, in source: String) throws(VaultError) -> String {
        if link.kind == .file { return path }
        let source = moved[source] ?? source
        let isNote = VaultPath(trusted: path).isNote
        let candidates = form.candidates(for: path, from: source, isUnique: after.isUnique(path))
        // A link has the extension of notes if it had it.
        let shown = isNote && !folded(link.target).hasSuffix(".md") ? candidates.map { String($0.dropLast(3)) } : []
        if let found = (shown + candidates).first(where: { after.resolve($0, from: source) == path }) { return found }
        throw VaultError(
            .failedPrecondition,
            "the link \(link.original) in line \(link.line + 1) of '\(source)' could not lead to '\(path)' any more, because "
                + "another file's path differs from that only in case; choose another name")
    }
}
