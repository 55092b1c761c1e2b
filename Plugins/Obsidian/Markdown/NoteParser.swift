/// Reads a note: front matter, then prose line by line.
enum NoteParser {
    static func parse(_ text: String) -> ParsedNote {
        let lines = TextLines(text)
        var note = ParsedNote()
        note.frontMatter = FrontMatter.read(lines)
        let first = note.frontMatter?.endLine ?? FrontMatter.unreadableEnd(lines) ?? 0
        var scanner = InlineScanner(lines)
        for (line, kind) in BlockScanner.scan(lines, from: first).enumerated() {
            switch kind {
            case .hidden: continue
            case .prose(let start): scanner.scan(line: line, from: start)
            case .heading(let level, let start):
                note.headings.append(heading(level, start, line, lines))
                scanner.scan(line: line, from: start)
            }
        }
        note.links = scanner.links
        note.tags = scanner.tags
        note.blocks = scanner.blocks
        return note
    }

    /// Closing marks do not belong to the text (CommonMark §4.2).
    private static func heading(_ level: Int, _ start: Int, _ line: Int, _ lines: TextLines) -> Heading {
        var text = lines.text(start..<lines.lines[line].upperBound).trimmed
        let marks = text.reversed().prefix { $0 == "#" }.count
        if marks > 0, marks == text.count || text.dropLast(marks).last?.isWhitespace == true {
            text = text.dropLast(marks).trimmed
        }
        return Heading(level: level, text: String(text), range: lines.lines[line], line: line)
    }
}
