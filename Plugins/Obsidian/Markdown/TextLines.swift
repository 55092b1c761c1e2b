/// A text's bytes and where its lines are.
struct TextLines {
    let bytes: [UInt8]
    /// Without their line ends.
    let lines: [Range<Int>]

    init(_ text: String) {
        bytes = Array(text.utf8)
        var lines: [Range<Int>] = []
        var start = 0
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

    /// Blanks at a line's start, a tab counting to the next multiple of four, and where its text begins.
    func indent(line: Int) -> (width: Int, start: Int) {
        var width = 0
        for offset in lines[line] {
            switch bytes[offset] {
            case UInt8(ascii: " "): width += 1
            case UInt8(ascii: "\t"): width += 4 - width % 4
            default: return (width, offset)
            }
        }
        return (width, lines[line].upperBound)
    }

    func isBlank(line: Int) -> Bool { indent(line: line).start == lines[line].upperBound }
}
