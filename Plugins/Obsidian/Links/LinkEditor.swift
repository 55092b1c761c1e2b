import KnapJSON

/// Changes where the links of a text lead, and no byte besides: what a link shows, its style, how it is quoted and
/// whether it embeds stay.
struct LinkEditor {
    /// Where the text is, for errors.
    let path: String
    /// What a link is to lead to; nil leaves it.
    let destination: (NoteLink) throws(VaultError) -> LinkDestination?

    /// Nil when there is nothing to change.
    func edit(_ text: String, isCanvas: Bool) throws(VaultError) -> String? {
        isCanvas ? try edit(canvas: text) : try edit(note: text)
    }

    private func edit(note text: String) throws(VaultError) -> String? {
        let note = NoteParser.parse(text)
        var edits: [TextEdit] = []
        for link in note.links {
            guard let wanted = try destination(link) else { continue }
            edits.append(TextEdit(range: link.range, text: try written(link, wanted)))
        }
        for scalar in note.frontMatter?.links.isEmpty == false ? FrontMatterScalar.all(in: text) : [] {
            guard let link = scalar.link, let wanted = try destination(link) else { continue }
            edits.append(TextEdit(range: scalar.range, text: scalar.written(try written(link, wanted))))
        }
        return TextEdit.apply(edits, to: text)
    }

    /// Only the strings of the nodes in question change.
    private func edit(canvas text: String) throws(VaultError) -> String? {
        var edits: [TextEdit] = []
        for node in Canvas.read(text)?.nodes ?? [] {
            switch node.content {
            case .text(let text):
                guard let edited = try edit(note: text) else { continue }
                edits.append(TextEdit(range: node.range, text: JSON.string(edited).serialized()))
            case .file(let path, let subpath):
                guard let link = Canvas(nodes: [node]).links.first, let wanted = try destination(link) else { continue }
                // A file node has the whole path.
                let target = wanted.target.hasPrefix("/") ? String(wanted.target.dropFirst()) : wanted.target
                if !target.utf8.elementsEqual(path.utf8) {
                    edits.append(TextEdit(range: node.range, text: JSON.string(target).serialized()))
                }
                if let range = node.subpathRange, wanted.subpath != subpath {
                    edits.append(TextEdit(range: range, text: JSON.string(wanted.subpath).serialized()))
                }
            }
        }
        return TextEdit.apply(edits, to: text)
    }

    private func written(_ link: NoteLink, _ wanted: LinkDestination) throws(VaultError) -> String {
        if let text = LinkParts(link)?.written(wanted) { return text }
        throw VaultError(
            .failedPrecondition,
            "the link \(link.original) in line \(link.line + 1) of '\(path)' cannot be written so that it leads to "
                + "'\(wanted.target)\(wanted.subpath)'; choose a name without #, ^, |, [ and ]")
    }
}

/// A part of a text that is to become another.
struct TextEdit {
    /// In bytes of the text.
    var range: Range<Int>
    var text: String

    /// Nil without edits. Of two of one place the first counts.
    static func apply(_ edits: [TextEdit], to text: String) -> String? {
        guard !edits.isEmpty else { return nil }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var at = 0
        for edit in edits.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) where edit.range.lowerBound >= at {
            result += bytes[at..<edit.range.lowerBound] + Array(edit.text.utf8)
            at = edit.range.upperBound
        }
        return String(decoding: result + bytes[at...], as: UTF8.self)
    }
}
