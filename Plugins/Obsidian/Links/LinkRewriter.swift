/// Keeps links pointing to the same files when one of them moves.
enum LinkRewriter {
    /// The text with the links that would otherwise lead elsewhere written anew; nil when there is nothing to change.
    ///
    /// What a link shows, its subpath, its style and whether it embeds stay as they are.
    static func rewrite(
        text: String, ofNoteAt old: String, nowAt new: String, resolverBefore: LinkResolver, resolverAfter: LinkResolver,
        moved: [String: String]
    ) -> String? {
        let note = NoteParser.parse(text)
        var edits: [(range: Range<Int>, text: String)] = []
        let bytes = Array(text.utf8)
        for link in note.links where !link.target.isEmpty {
            guard let made = replacement(link, old, new, resolverBefore, resolverAfter, moved) else { continue }
            edits.append((link.range, made))
        }
        for link in note.frontMatter?.links ?? [] where !link.target.isEmpty {
            guard let front = note.frontMatter, let made = replacement(link, old, new, resolverBefore, resolverAfter, moved) else { continue }
            let wanted = Array(link.original.utf8)
            var at = front.range.lowerBound
            while at + wanted.count <= front.range.upperBound {
                if bytes[at..<(at + wanted.count)].elementsEqual(wanted) {
                    if !edits.contains(where: { $0.range.overlaps(at..<(at + wanted.count)) }) {
                        edits.append((at..<(at + wanted.count), made))
                    }
                    at += wanted.count
                } else { at += 1 }
            }
        }
        guard !edits.isEmpty else { return nil }
        var result = bytes
        for edit in edits.sorted(by: { $0.range.lowerBound > $1.range.lowerBound }) {
            result.replaceSubrange(edit.range, with: Array(edit.text.utf8))
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func replacement(
        _ link: NoteLink, _ old: String, _ new: String, _ before: LinkResolver, _ after: LinkResolver,
        _ moved: [String: String]
    ) -> String? {
        guard let was = before.resolve(link.target, from: old) else { return nil }
        let wanted = moved[was] ?? was
        if after.resolve(link.target, from: new) == wanted { return nil }
        return write(link, to: target(for: wanted, like: link, from: new, after))
    }

    /// The shortest text that leads there: the name where that is enough, else the whole path.
    private static func target(for path: String, like link: NoteLink, from source: String, _ resolver: LinkResolver) -> String {
        let place = VaultPath(trusted: path)
        let keepsExtension = !place.isNote || folded(link.target).hasSuffix(".md")
        func shown(_ text: String) -> String { keepsExtension || !folded(text).hasSuffix(".md") ? text : String(text.dropLast(3)) }
        let name = shown(place.name)
        if !link.target.contains("/"), resolver.resolve(name, from: source) == path { return name }
        let whole = shown(path)
        return resolver.resolve(whole, from: source) == path ? whole : "/" + whole
    }

    private static func write(_ link: NoteLink, to target: String) -> String {
        switch link.kind {
        case .wikilink, .embed, .property:
            let mark = link.kind == .embed ? "!" : ""
            // In a table the bar is escaped, and stays so.
            let bar = link.original.contains("\\|") ? "\\|" : "|"
            return "\(mark)[[\(target)\(link.subpath)\(link.display.map { bar + $0 } ?? "")]]"
        case .markdown, .markdownEmbed:
            let mark = link.kind == .markdownEmbed ? "!" : ""
            let destination = (target + link.subpath).map { $0 == " " ? "%20" : String($0) }.joined()
            return "\(mark)[\(link.display ?? "")](\(destination))"
        }
    }
}
