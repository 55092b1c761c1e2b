/// Puts lines into a text in place of others. All other bytes stay; what comes in takes the line ends of the text.
///
/// Lines are numbered from 0. A text that ends with a line break has an empty line behind it, which counts for nobody:
/// it is no line of a section, but it may be named.
extension TextLines {
    /// Without the empty line behind the last line break.
    var ownCount: Int { lines.count > 1 && lines[lines.count - 1].isEmpty ? lines.count - 1 : lines.count }

    var isEmpty: Bool { lines.count == 1 && lines[0].isEmpty }

    func isBlank(_ line: Int) -> Bool { indent(lines[line]).start == lines[line].upperBound }

    /// Where the next line begins, or the end.
    func next(_ line: Int) -> Int { line + 1 < lines.count ? lines[line + 1].lowerBound : bytes.count }

    /// The lines that a range of bytes touches.
    func lines(touching range: Range<Int>) -> Range<Int> {
        let first = line(at: range.lowerBound)
        return first..<line(at: max(range.lowerBound, range.upperBound - 1)) + 1
    }

    /// Without the blank lines at both ends; empty, and at the beginning, where all are blank.
    func trimmed(_ range: Range<Int>) -> Range<Int> {
        guard let first = range.first(where: { !isBlank($0) }), let last = range.last(where: { !isBlank($0) }) else {
            return range.lowerBound..<range.lowerBound
        }
        return first..<last + 1
    }

    /// How lines end at a place: as the line there, or the nearest before it, or after it.
    func lineEnd(near line: Int) -> String {
        func end(_ line: Int) -> String? {
            guard line + 1 < lines.count else { return nil }
            return lines[line + 1].lowerBound - lines[line].upperBound == 2 ? "\r\n" : "\n"
        }
        let line = min(line, lines.count - 1)
        return end(line) ?? (line > 0 ? end(line - 1) : nil) ?? "\n"
    }

    /// The lines of a content; one line break at its end ends its last line and is none.
    static func lines(of content: String) -> [String] {
        guard !content.isEmpty else { return [] }
        let lines = TextLines(content)
        return (0..<lines.ownCount).map { lines.text(line: $0) }
    }

    // MARK: Changing

    func replacing(_ range: Range<Int>, with text: String) -> String {
        var result = bytes
        result.replaceSubrange(range, with: text.utf8)
        return String(decoding: result, as: UTF8.self)
    }

    /// Some lines, at least one, by others; by none, they go with their line breaks.
    func replacing(lines range: Range<Int>, with content: [String]) -> String {
        let start = lines[range.lowerBound].lowerBound
        let last = range.upperBound - 1
        guard !content.isEmpty else { return replacing(start..<next(last), with: "") }
        return replacing(start..<lines[last].upperBound, with: content.joined(separator: lineEnd(near: range.lowerBound)))
    }

    /// Before a line, or behind the last one. A text that has no line break at its end has none afterwards either.
    func inserting(_ content: [String], before line: Int) -> String {
        guard !content.isEmpty else { return String(decoding: bytes, as: UTF8.self) }
        let end = lineEnd(near: max(0, line - 1))
        if isEmpty { return replacing(bytes.count..<bytes.count, with: content.map { $0 + end }.joined()) }
        if line < lines.count {
            let start = lines[line].lowerBound
            return replacing(start..<start, with: content.map { $0 + end }.joined())
        }
        return replacing(bytes.count..<bytes.count, with: content.map { end + $0 }.joined())
    }
}
