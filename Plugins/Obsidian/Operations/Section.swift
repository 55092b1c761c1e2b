import KnapPlugin

/// The part of a note under a heading, with the heading's own lines.
enum Section {
    static func find(_ heading: String, in text: String, path: VaultPath) throws(VaultError) -> Substring {
        let lines = TextLines(text)
        let section = try NoteOutline(lines, NoteParser.parse(text)).find(heading, path: path).section
        let start = text.utf8.index(text.startIndex, offsetBy: lines.lines[section.lowerBound].lowerBound)
        let end = text.utf8.index(text.startIndex, offsetBy: lines.next(section.upperBound - 1))
        return text[start..<end]
    }
}
