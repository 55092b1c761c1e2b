/// The part of a note that a link leads to.
enum NotePart {
    /// Where the part named by a subpath is, in bytes: `#Heading`, also a chain of nested ones, or `#^block`. Nil where
    /// the note has none of that name.
    static func range(of subpath: String, in note: ParsedNote, size: Int) -> Range<Int>? {
        let parts = HeadingPaths.parts(of: subpath).map { String($0.trimmed) }
        if let last = parts.last, last.hasPrefix("^") {
            let id = folded(String(last.dropFirst()))
            return note.blocks.first { folded($0.id) == id }?.range
        }
        let paths = HeadingPaths(note.headings)
        guard let place = paths.resolve(parts)?.last else { return nil }
        let next = paths.sectionEnd(place)
        let end = next < note.headings.count ? note.headings[next].range.lowerBound : size
        return note.headings[place].range.lowerBound..<end
    }

    /// Where a part that may have no more than so many bytes is cut: before a heading if that keeps half of what it may
    /// have, else before a block, else before a line.
    static func cut(_ range: Range<Int>, to most: Int, in note: ParsedNote, _ bytes: [UInt8]) -> Int {
        let end = range.lowerBound + most
        guard end < range.upperBound else { return range.upperBound }
        func last(_ places: some Sequence<Int>) -> Int? { places.filter { $0 > range.lowerBound && $0 <= end }.max() }
        if let place = last(note.headings.map(\.range.lowerBound)), place - range.lowerBound >= most / 2 {
            return place
        }
        if let place = last(note.sections.map(\.range.lowerBound) + note.items.map(\.range.lowerBound)),
            place - range.lowerBound >= most / 2
        {
            return place
        }
        if let line = bytes[range.lowerBound..<end].lastIndex(of: 0x0A), line - range.lowerBound >= most / 4 {
            return line + 1
        }
        var place = end
        while place > range.lowerBound, bytes[place] & 0xC0 == 0x80 { place -= 1 }
        return place
    }
}
