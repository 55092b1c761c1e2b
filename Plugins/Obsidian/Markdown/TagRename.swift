import KnapJSON

/// A new name for a tag and those that are nested in it, wherever a note has it as a tag.
struct TagRename {
    private let old: [String]
    private let new: String

    /// Both without `#`.
    init(_ old: String, to new: String) {
        self.old = old.split(separator: "/", omittingEmptySubsequences: false).map { folded(String($0)) }
        self.new = new
    }

    /// The text of a tag as a caller gives it, without `#`; throws for what could be none.
    static func name(_ text: String, argument: String) throws(VaultError) -> String {
        let name = text.hasPrefix("#") ? String(text.dropFirst()) : text
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard !parts.contains(where: \.isEmpty), name.unicodeScalars.allSatisfy(TagRule.allows),
            name.unicodeScalars.contains(where: { !("0"..."9").contains($0) })
        else {
            throw VaultError(
                .invalidArgument,
                "\(argument) '\(text)' is no tag: letters, digits, _, - and / between its parts, and not digits alone")
        }
        return name
    }

    /// Nil for another tag.
    func renamed(_ tag: String) -> String? {
        let parts = tag.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= old.count, zip(parts, old).allSatisfy({ folded(String($0)) == $1 }) else { return nil }
        return ([new[...]] + parts.dropFirst(old.count)).joined(separator: "/")
    }

    /// Nil where there is nothing to change.
    func rewrite(_ text: String, path: String) throws(VaultError) -> String? {
        let note = NoteParser.parse(text)
        var edits = note.tags.compactMap { tag in
            renamed(tag.name).map { TextEdit(range: (tag.range.lowerBound + 1)..<tag.range.upperBound, text: $0) }
        }
        let (front, wanted) = frontMatter(note, text)
        edits += front
        guard let edited = TextEdit.apply(edits, to: text), !edited.utf8.elementsEqual(text.utf8) else { return nil }
        guard front.isEmpty || FrontMatter.read(TextLines(edited))?.tags == wanted else {
            throw VaultError(
                .failedPrecondition, "the tags in the front matter of '\(path)' are written in a way that cannot be changed alone; edit it first")
        }
        return edited
    }

    /// Edits of the property `tags`, and what it is to be then. What becomes a tag that is there already goes.
    private func frontMatter(_ note: ParsedNote, _ text: String) -> (edits: [TextEdit], tags: [String]) {
        guard let front = note.frontMatter, front.tags.contains(where: { renamed($0) != nil }) else { return ([], []) }
        let isList = front.properties["tags"]?.arrayValue != nil
        let scalars = FrontMatterScalar.all(in: text).filter { $0.path.first == "tags" && $0.path.count == (isList ? 2 : 1) }
        let lines = TextLines(text)
        var edits: [TextEdit] = []
        var kept: [(name: String, isRenamed: Bool)] = []
        for (place, scalar) in scalars.enumerated() {
            let marks = scalar.text.prefix { $0 == "#" }
            let name = String(scalar.text.dropFirst(marks.count).trimmed)
            guard front.tags.contains(name) else { continue }
            let new = renamed(name)
            let double = kept.contains { folded($0.name) == folded(new ?? name) && (new != nil || $0.isRenamed) }
            if double, place > 0 {
                edits.append(TextEdit(range: element(scalar, behind: scalars[place - 1], lines), text: ""))
                continue
            }
            kept.append((new ?? name, new != nil))
            if let new, !new.utf8.elementsEqual(name.utf8) {
                edits.append(TextEdit(range: scalar.range, text: scalar.written(marks + new)))
            }
        }
        return (edits, kept.map(\.name))
    }

    /// What an element of a list takes up, with its mark or the comma before it.
    private func element(_ scalar: FrontMatterScalar, behind other: FrontMatterScalar, _ lines: TextLines) -> Range<Int> {
        let line = lines.lines[scalar.line]
        let lead = lines.text(line.lowerBound..<scalar.range.lowerBound).trimmed
        guard lead == "-", scalar.line + 1 < lines.lines.count else { return other.range.upperBound..<scalar.range.upperBound }
        return line.lowerBound..<lines.lines[scalar.line + 1].lowerBound
    }
}
