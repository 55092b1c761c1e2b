/// A text's bytes and where its lines are.
struct TextLines {
    let bytes: [UInt8]
    /// Without their line ends.
    let lines: [Range<Int>]

    init(_ text: String) {
        bytes = Array(text.utf8)
        var lines: [Range<Int>] = []
        // A byte order mark is no part of the first line.
        var start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        for (offset, byte) in bytes.enumerated() where byte == UInt8(ascii: "\n") {
            let end = offset > start && bytes[offset - 1] == UInt8(ascii: "\r") ? offset - 1 : offset
            lines.append(start..<end)
            start = offset + 1
        }
        lines.append(start..<bytes.count)
        self.lines = lines
    }

    func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
    func text(line: Int) -> String { text(lines[line]) }

    /// The last line that begins at or before a place.
    func line(at place: Int) -> Int {
        var low = 0
        var high = lines.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if lines[middle].lowerBound <= place { low = middle } else { high = middle }
        }
        return low
    }

    /// The columns of white space at the start of a line's part, a tab counting to the next multiple of four, and where
    /// its text begins.
    func indent(_ range: Range<Int>) -> (width: Int, start: Int) {
        var width = 0
        for offset in range {
            switch bytes[offset] {
            case UInt8(ascii: " "): width += 1
            case UInt8(ascii: "\t"): width += 4 - width % 4
            default: return (width, offset)
            }
        }
        return (width, range.upperBound)
    }
}

/// A place in a text as editors and Obsidian's cache count it: all from 0, columns and offsets in UTF-16 units.
struct TextPosition: Sendable, Hashable {
    var line: Int
    var column: Int
    var offset: Int
}

extension TextLines {
    /// The most bytes of a link's text, or of its destination. It keeps the work for each bracket within bounds.
    static let longestPart = 4096

    /// Where the bracket closes that opened just before a place, inner ones and escaped ones left out; nil where it does
    /// not before the end.
    func closing(_ opens: UInt8, _ closes: UInt8, _ start: Int, _ end: Int) -> Int? {
        var depth = 1
        var place = start
        let end = min(end, start + Self.longestPart)
        while place < end {
            switch bytes[place] {
            case UInt8(ascii: "\\"): place += 1
            case opens: depth += 1
            case closes:
                depth -= 1
                if depth == 0 { return place }
            default: break
            }
            place += 1
        }
        return nil
    }
}

/// Turns places in bytes into positions.
struct TextPositions {
    private let text: TextLines
    /// UTF-16 units before each line.
    private let offsets: [Int]

    init(_ text: TextLines) {
        self.text = text
        var offsets: [Int] = []
        var offset = 0
        var place = 0
        for line in text.lines {
            offset += Self.units(text.bytes[place..<line.lowerBound])
            place = line.lowerBound
            offsets.append(offset)
        }
        self.offsets = offsets
    }

    subscript(_ place: Int) -> TextPosition {
        let line = text.line(at: place)
        let start = text.lines[line].lowerBound
        // Before a byte order mark, for instance.
        guard place >= start else {
            return TextPosition(line: line, column: 0, offset: offsets[line] - Self.units(text.bytes[place..<start]))
        }
        let column = Self.units(text.bytes[start..<place])
        return TextPosition(line: line, column: column, offset: offsets[line] + column)
    }

    /// Each character of UTF-8 is one unit, and two where it has four bytes.
    private static func units(_ bytes: ArraySlice<UInt8>) -> Int {
        bytes.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : $1 >= 0xF0 ? 2 : 1) }
    }
}
