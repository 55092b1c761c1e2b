import KnapPlugin

/// A block that a note names by `^id`, and its lines: a paragraph, a table, a quote, a whole list, or an item with those
/// in it.
struct NamedBlock {
    enum Kind: Hashable {
        /// - Parameter text: The item's own lines, without those in it.
        case item(text: Range<Int>)
        case section(NoteSection.Kind)
    }

    var id: String
    var kind: Kind
    var lines: Range<Int>
    /// Where the id is: in the block, or on a line of its own behind it.
    var idLine: Int
    /// Where the block begins in its first line, behind the marks and the indent of what it is in; in bytes of the text.
    var start: Int

    var hasOwnID: Bool { lines.contains(idLine) }

    static func find(_ wanted: String, in text: TextLines, _ note: ParsedNote, path: VaultPath) throws(VaultError) -> NamedBlock {
        let id = wanted.trimmed.drop { $0 == "#" || $0 == "^" }
        let found = note.blocks.filter { folded($0.id) == folded(String(id)) }
        guard let block = found.first else {
            let names = note.blocks.map(\.id)
            let hint = nearest(to: String(id), among: names).map { "; did you mean '^\($0)'?" } ?? ""
            let known = names.isEmpty ? "it names none" : "it has: " + names.prefix(20).map { "^" + $0 }.joined(separator: ", ")
            throw VaultError(.notFound, "'\(path)' has no block '^\(id)'\(hint) (\(known))")
        }
        guard found.count == 1 else {
            let lines = found.map { "\($0.line + 1)" }.joined(separator: ", ")
            throw VaultError(
                .failedPrecondition, "'\(path)' has \(found.count) blocks '^\(id)', at the lines \(lines); give the lines of yours")
        }
        return NamedBlock(block, text, note)
    }

    private init(_ block: BlockID, _ text: TextLines, _ note: ParsedNote) {
        id = block.id
        idLine = block.line
        start = block.range.lowerBound
        lines = text.lines(touching: block.range)
        if let item = note.items.firstIndex(where: { $0.id == block.id && $0.range == block.range }) {
            let own = text.lines(touching: note.items[item].range)
            kind = .item(text: own.lowerBound..<text.trimmed(own).upperBound)
            lines = own.lowerBound..<Self.end(of: item, text, note)
        } else {
            kind = .section(note.sections.last { $0.range.lowerBound <= block.range.lowerBound }?.kind ?? .paragraph)
        }
    }

    /// Where an item ends with all that is in it, also what stands behind a list in it.
    private static func end(of item: Int, _ text: TextLines, _ note: ParsedNote) -> Int {
        var end = text.trimmed(text.lines(touching: note.items[item].range)).upperBound
        var inside: Set<Int> = [item]
        var next = item + 1
        while next < note.items.count, let parent = note.items[next].parent, inside.contains(parent) {
            inside.insert(next)
            end = max(end, text.trimmed(text.lines(touching: note.items[next].range)).upperBound)
            next += 1
        }
        let line = note.items[item].line
        let begin = text.lines[line].lowerBound
        // In a quote the marks say what belongs together.
        guard text.indent(begin..<note.items[item].range.lowerBound).start == note.items[item].range.lowerBound else { return end }
        let column = text.indent(text.lines[line]).width
        let limit = next < note.items.count ? note.items[next].line : text.ownCount
        var place = end
        while place < limit, text.isBlank(place) || text.indent(text.lines[place]).width > column {
            place += 1
            if !text.isBlank(place - 1) { end = place }
        }
        return end
    }

    // MARK: Its surroundings

    /// What stands before the block in each of its lines: marks of quotes, and blanks in place of those of lists.
    func prefix(in text: TextLines) -> String {
        let first = text.lines[lines.lowerBound]
        return String(text.text(first.lowerBound..<start).map { $0 == ">" || $0.isWhitespace ? $0 : " " })
    }

    /// A content as lines of what the block is in, except for the first; it may have been written with the prefix or without.
    func placed(_ content: [String], _ prefix: String) -> [String] {
        guard !prefix.isEmpty else { return content }
        return Self.without(prefix, content).enumerated().map { place, line in
            place == 0 ? line : line.trimmed.isEmpty ? (prefix.contains(">") ? prefix.trimmedEnd : "") : prefix + line
        }
    }

    private static func without(_ prefix: String, _ content: [String]) -> [String] {
        guard content.allSatisfy({ $0.trimmed.isEmpty || $0.hasPrefix(prefix) }) else { return content }
        return content.map { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : "" }
    }

    /// A content as lines in an item: under its text, with which they are in line unless they are written so already.
    func inside(_ content: [String], in text: TextLines) -> [String] {
        let prefix = prefix(in: text)
        let line = text.bytes[start..<text.lines[lines.lowerBound].upperBound]
        var indent = String(repeating: " ", count: (BlockStart.marker(line)?.width ?? 1) + 1)
        // As those that are there.
        if lines.count > 1, text.text(line: lines.lowerBound + 1).hasPrefix(prefix + "\t") { indent = "\t" }
        let own = Self.without(prefix, content)
        let isIndented = own.allSatisfy { $0.trimmed.isEmpty || $0.hasPrefix(indent) || $0.hasPrefix("\t") }
        return own.map { $0.trimmed.isEmpty ? "" : prefix + (isIndented ? "" : indent) + $0 }
    }

    /// The block's last line without the id in it.
    func lastLine(in text: TextLines) -> String {
        let line = text.text(line: lines.upperBound - 1).trimmedEnd
        return hasOwnID && line.hasSuffix("^" + id) ? String(line.dropLast(id.count + 1)).trimmedEnd : line
    }

    private static func isOther(_ line: String) -> Bool {
        let text = line.drop { $0.isWhitespace || $0 == ">" }
        return text.isEmpty || BlockStart.marker(Array(text.utf8)[...]) != nil
    }

    /// A content with the block's id where links find it, unless it has it already.
    func named(_ content: [String]) -> [String] {
        guard hasOwnID, !content.isEmpty, !content.contains(where: { BlockStart.blockID(Array($0.utf8)[...]) == id }) else {
            return content
        }
        var content = content
        // An item's own text ends where a blank line or an item in it comes.
        let isItem = if case .item = kind { true } else { false }
        let end = isItem ? content.indices.dropFirst().first { Self.isOther(content[$0]) } ?? content.count : content.count
        let place = content[..<end].lastIndex { !$0.trimmed.isEmpty } ?? 0
        content[place] = content[place].trimmedEnd + " ^" + id
        return content
    }
}

extension String {
    /// Without blanks at its end.
    fileprivate var trimmedEnd: String { lastIndex { !$0.isWhitespace }.map { String(self[...$0]) } ?? "" }
}
