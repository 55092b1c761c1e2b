import KnapJSON
import Yams

/// A text in the front matter, and where and how it is written.
struct FrontMatterScalar {
    enum Style { case plain, singleQuoted, doubleQuoted, block }

    /// The keys that lead to it; an element of a list has its number.
    var path: [String]
    var text: String
    /// With its quotes, in bytes of the note's text.
    var range: Range<Int>
    var style: Style
    /// From 0.
    var line: Int

    /// All that are no keys, in the order in which they are written; none where the front matter cannot be read.
    static func all(in text: String) -> [FrontMatterScalar] {
        let lines = TextLines(text)
        guard let (inner, _) = FrontMatter.bounds(lines), FrontMatter.read(lines) != nil,
            let root = try? Parser(yaml: lines.text(inner), resolver: .basic).singleRoot()
        else { return [] }
        let places = YAMLPlaces(lines, inner)
        var found: [FrontMatterScalar] = []
        func visit(_ node: Node, _ path: [String]) {
            switch node {
            case .scalar(let scalar): if let place = places.scalar(scalar, path) { found.append(place) }
            case .sequence(let sequence):
                for (number, element) in sequence.enumerated() { visit(element, path + ["\(number)"]) }
            case .mapping(let mapping):
                for (key, element) in mapping { visit(element, path + [key.scalar?.string ?? ""]) }
            case .alias: break
            }
        }
        visit(root, [])
        return found.sorted { $0.range.lowerBound < $1.range.lowerBound }
    }

    /// The link that it is as a whole; nil for another text.
    var link: NoteLink? {
        guard style != .plain, text.hasPrefix("[["), text.hasSuffix("]]"), text.count > 4 else { return nil }
        let content = String(text.dropFirst(2).dropLast(2))
        guard !content.contains("[["), !content.contains("]]"), let parts = LinkText.split(content) else { return nil }
        return NoteLink(
            kind: .property(path.joined(separator: ".")), target: parts.target, subpath: parts.subpath,
            display: parts.display, original: text, range: range, line: line)
    }

    /// Another text in its place, in quotes as it is; a plain one gets quotes where it would not be that text without.
    func written(_ text: String) -> String {
        switch style {
        case .block: return text
        case .singleQuoted: return "'" + text.replacing("'", with: "''") + "'"
        case .doubleQuoted: return JSON.string(text).serialized()
        case .plain:
            let isPlain = YAML12.read("k: \(text)")?["k"] == .string(text) && YAML12.read("k: [\(text)]")?["k"] == [.string(text)]
            return isPlain ? text : JSON.string(text).serialized()
        }
    }
}

/// Where in a note libyaml's marks are: it counts lines and scalars, and knows more line ends than notes do.
private struct YAMLPlaces {
    private let bytes: [UInt8]
    private let end: Int
    private let starts: [Int]
    private let lines: TextLines

    init(_ lines: TextLines, _ inner: Range<Int>) {
        self.lines = lines
        bytes = lines.bytes
        end = inner.upperBound
        var starts = [inner.lowerBound]
        var place = inner.lowerBound
        while place < end {
            let next = Self.lineEnd(bytes, place, end)
            place = next ?? place + 1
            if next != nil { starts.append(place) }
        }
        self.starts = starts
    }

    /// Where a line goes on whose end is here.
    private static func lineEnd(_ bytes: [UInt8], _ place: Int, _ end: Int) -> Int? {
        switch bytes[place] {
        case 0x0A: place + 1
        case 0x0D: place + 1 < end && bytes[place + 1] == 0x0A ? place + 2 : place + 1
        case 0xC2: place + 1 < end && bytes[place + 1] == 0x85 ? place + 2 : nil
        case 0xE2: place + 2 < end && bytes[place + 1] == 0x80 && [0xA8, 0xA9].contains(bytes[place + 2]) ? place + 3 : nil
        default: nil
        }
    }

    private func place(_ mark: Mark) -> Int? {
        guard starts.indices.contains(mark.line - 1) else { return nil }
        var place = starts[mark.line - 1]
        for _ in 1..<max(1, mark.column) {
            place += 1
            while place < end, bytes[place] & 0xC0 == 0x80 { place += 1 }
        }
        return place < end ? place : nil
    }

    /// Nil for one that is not found again where the mark says.
    func scalar(_ scalar: Node.Scalar, _ path: [String]) -> FrontMatterScalar? {
        guard let mark = scalar.mark, var start = self.place(mark) else { return nil }
        // An anchor or a tag stands before it.
        while bytes[start] == UInt8(ascii: "&") || bytes[start] == UInt8(ascii: "!") {
            while start < end, bytes[start] > 0x20 { start += 1 }
            while start < end, bytes[start] <= 0x20 { start += 1 }
            guard start < end else { return nil }
        }
        let style: FrontMatterScalar.Style
        let range: Range<Int>?
        switch scalar.style {
        case .singleQuoted: (style, range) = (.singleQuoted, quoted(UInt8(ascii: "'"), start))
        case .doubleQuoted: (style, range) = (.doubleQuoted, quoted(UInt8(ascii: "\""), start))
        case .literal, .folded: (style, range) = (.block, first(scalar.string, start))
        default:
            let text = Array(scalar.string.utf8)
            (style, range) = (.plain, bytes[start..<end].starts(with: text) ? start..<(start + text.count) : nil)
        }
        return range.map {
            FrontMatterScalar(path: path, text: scalar.string, range: $0, style: style, line: lines.line(at: $0.lowerBound))
        }
    }

    private func quoted(_ quote: UInt8, _ start: Int) -> Range<Int>? {
        guard bytes[start] == quote else { return nil }
        var place = start + 1
        while place < end {
            if bytes[place] == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                place += 2
            } else if bytes[place] == quote {
                guard quote == UInt8(ascii: "'"), place + 1 < end, bytes[place + 1] == quote else { return start..<(place + 1) }
                place += 2
            } else {
                place += 1
            }
        }
        return nil
    }

    private func first(_ text: String, _ start: Int) -> Range<Int>? {
        let text = Array(text.utf8)
        return bytes.firstPlace(of: text, in: start..<end).map { $0..<($0 + text.count) }
    }
}
