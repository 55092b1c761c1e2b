/// A part of a note that is looked for by its meaning: a section, or a piece of one that is long.
struct NoteChunk: Sendable, Equatable {
    /// From 0; with the heading's.
    var lines: Range<Int>
    /// The section's heading behind those above it.
    var headings: [String]
    /// What it means: the note's title and the headings before its own text, which often says only what they leave out.
    var text: String

    /// In bytes; the mean of much more says too little of each part.
    static let longest = 1000
    /// A note as long as a book is known by its beginning.
    static let mostOfNote = 2000

    /// In bytes: what so many chunks can hold is read of a note.
    private static let mostBytes = 2 * longest * mostOfNote

    static func chunks(of text: String, title: String) -> [NoteChunk] {
        let text = text.utf8.count > mostBytes ? String(decoding: text.utf8.prefix(mostBytes), as: UTF8.self) : text
        let layout = TextLines(text)
        let start = FrontMatter.bounds(layout).map { $0.end + 1 } ?? 0
        let headings = NoteParser.parse(text).headings.filter { $0.line >= start }
        var chunks: [NoteChunk] = []
        var open: [Heading] = []
        for (place, heading) in ([nil] + headings).enumerated() {
            if let heading {
                open.removeAll { $0.level >= heading.level }
                open.append(heading)
            }
            let body = heading.map { layout.line(at: max($0.range.lowerBound, $0.range.upperBound - 1)) + 1 } ?? start
            let end = place < headings.count ? headings[place].line : layout.lines.count
            chunks += section(open, from: heading?.line ?? start, body: min(body, end)..<end, layout, title)
            guard chunks.count < mostOfNote else { return Array(chunks.prefix(mostOfNote)) }
        }
        return chunks.isEmpty ? [NoteChunk(lines: 0..<1, headings: [], text: title)] : chunks
    }

    /// The chunks of the lines behind a heading, or of those before the first.
    private static func section(
        _ open: [Heading], from first: Int, body: Range<Int>, _ layout: TextLines, _ title: String
    ) -> [NoteChunk] {
        let headings = open.map(\.text)
        // The first heading often says the title again.
        let context = ([title] + headings.filter { $0 != title }).joined(separator: "\n")
        var chunks = pieces(body, layout).map { lines, text in
            NoteChunk(lines: lines, headings: headings, text: context + "\n" + text)
        }
        if chunks.isEmpty, !open.isEmpty {
            chunks = [NoteChunk(lines: first..<max(first + 1, body.lowerBound), headings: headings, text: context)]
        } else if !chunks.isEmpty {
            chunks[0].lines = first..<chunks[0].lines.upperBound
        }
        return chunks
    }

    /// Whole lines as long as they are not too long; without what is blank.
    private static func pieces(_ lines: Range<Int>, _ layout: TextLines) -> [(lines: Range<Int>, text: String)] {
        var pieces: [(lines: Range<Int>, text: String)] = []
        var begin = lines.lowerBound
        func add(_ range: Range<Int>, _ bytes: Range<Int>) {
            let text = layout.text(bytes)
            if !text.allSatisfy(\.isWhitespace) { pieces.append((range, text)) }
        }
        func close(at end: Int) {
            if begin < end { add(begin..<end, layout.lines[begin].lowerBound..<layout.lines[end - 1].upperBound) }
            begin = end
        }
        for line in lines {
            let bytes = layout.lines[line]
            if bytes.upperBound - layout.lines[begin].lowerBound > longest { close(at: line) }
            guard bytes.count > longest else { continue }
            var rest = bytes
            while !rest.isEmpty, pieces.count < mostOfNote {
                let end = cut(rest, layout.bytes)
                add(line..<line + 1, rest.lowerBound..<end)
                rest = end..<rest.upperBound
            }
            begin = line + 1
        }
        close(at: lines.upperBound)
        return pieces
    }

    /// Where a line that is too long can be cut: at a blank, or else between two characters.
    private static func cut(_ line: Range<Int>, _ bytes: [UInt8]) -> Int {
        guard line.count > longest else { return line.upperBound }
        let end = line.lowerBound + longest
        if let blank = bytes[line.lowerBound + longest / 2..<end].lastIndex(of: UInt8(ascii: " ")) { return blank + 1 }
        var place = end
        while bytes[place] & 0xC0 == 0x80 { place -= 1 }
        return place
    }
}
