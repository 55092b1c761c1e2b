/// Reads a note: front matter, then blocks, then their prose line by line.
enum NoteParser {
    static func parse(_ text: String) -> ParsedNote {
        let lines = TextLines(text)
        var note = ParsedNote()
        note.frontMatter = FrontMatter.read(lines)
        // Front matter that cannot be read is no prose either.
        let fence = FrontMatter.bounds(lines)?.end
        let front = fence.map { NoteSection(kind: .yaml, range: 0..<lines.lines[$0].upperBound, line: 0) }
        let blocks = BlockScanner.scan(lines, from: fence.map { $0 + 1 } ?? 0, front: front)
        var scanner = InlineScanner(lines)
        for (line, start) in blocks.prose.enumerated() {
            if let start { scanner.scan(line: line, from: start) } else { scanner.endParagraph() }
        }
        note.sections = blocks.sections
        note.headings = blocks.headings
        note.items = blocks.items
        note.blocks = blocks.blocks
        note.footnotes = blocks.footnotes
        note.links = scanner.links
        note.tags = scanner.tags
        note.footnoteReferences = scanner.footnoteReferences
        return note
    }
}
