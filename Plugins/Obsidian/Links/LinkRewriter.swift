import KnapJSON

/// Keeps links pointing to the same files when one of them moves.
struct LinkRewriter {
    /// Where the file with the links was, and where it is.
    let old: String
    let new: String
    let before: LinkResolver
    let after: LinkResolver
    let moved: [String: String]

    /// The text with the links that would otherwise lead elsewhere written anew; nil when there is nothing to change.
    ///
    /// What a link shows, its subpath, its style and whether it embeds stay as they are.
    func rewrite(_ text: String) -> String? {
        let note = NoteParser.parse(text)
        var edits: [(range: Range<Int>, text: String)] = []
        let bytes = Array(text.utf8)
        for link in note.links where !link.target.isEmpty {
            guard let made = replacement(link) else { continue }
            edits.append((link.range, made))
        }
        for link in note.frontMatter?.links ?? [] where !link.target.isEmpty {
            guard let front = note.frontMatter, let made = replacement(link) else { continue }
            let wanted = Array(link.original.utf8)
            var at = front.range.lowerBound
            while at + wanted.count <= front.range.upperBound {
                if bytes[at..<(at + wanted.count)].elementsEqual(wanted) {
                    if !edits.contains(where: { $0.range.overlaps(at..<(at + wanted.count)) }) {
                        edits.append((at..<(at + wanted.count), made))
                    }
                    at += wanted.count
                } else {
                    at += 1
                }
            }
        }
        return Self.apply(edits, to: bytes)
    }

    /// The same for a canvas: only the strings of the nodes in question change.
    func rewrite(canvas text: String) -> String? {
        let edits = (Canvas.read(text)?.nodes ?? []).compactMap { node -> (range: Range<Int>, text: String)? in
            let made =
                switch node.content {
                case .text(let text): rewrite(text)
                case .file: Canvas(nodes: [node]).links.first.flatMap(replacement)
                }
            return made.map { (node.range, JSON.string($0).serialized()) }
        }
        return Self.apply(edits, to: Array(text.utf8))
    }

    private static func apply(_ edits: [(range: Range<Int>, text: String)], to bytes: [UInt8]) -> String? {
        guard !edits.isEmpty else { return nil }
        var result = bytes
        for edit in edits.sorted(by: { $0.range.lowerBound > $1.range.lowerBound }) {
            result.replaceSubrange(edit.range, with: Array(edit.text.utf8))
        }
        return String(decoding: result, as: UTF8.self)
    }

    private func replacement(_ link: NoteLink) -> String? {
        guard let was = before.resolve(link.target, from: old) else { return nil }
        let wanted = moved[was] ?? was
        if after.resolve(link.target, from: new) == wanted { return nil }
        return write(link, to: target(for: wanted, like: link))
    }

    /// The shortest text that leads there: the name where that is enough, else the whole path.
    private func target(for path: String, like link: NoteLink) -> String {
        if link.kind == .file { return path }
        let place = VaultPath(trusted: path)
        let keepsExtension = !place.isNote || folded(link.target).hasSuffix(".md")
        func shown(_ text: String) -> String {
            keepsExtension || !folded(text).hasSuffix(".md") ? text : String(text.dropLast(3))
        }
        let name = shown(place.name)
        if !link.target.contains("/"), after.resolve(name, from: new) == path { return name }
        let whole = shown(path)
        return after.resolve(whole, from: new) == path ? whole : "/" + whole
    }

    private func write(_ link: NoteLink, to target: String) -> String {
        switch link.kind {
        case .file: return target
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
