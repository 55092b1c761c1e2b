/// How blocks begin. Every function looks at one line, from behind its indent.
enum BlockStart {
    typealias Line = ArraySlice<UInt8>

    static func starts(_ line: Line, _ mark: StaticString) -> Bool {
        line.starts(with: UnsafeBufferPointer(start: mark.utf8Start, count: mark.utf8CodeUnitCount))
    }

    static func contains(_ line: Line, _ mark: StaticString, ignoringCase: Bool = false) -> Bool {
        let mark = UnsafeBufferPointer(start: mark.utf8Start, count: mark.utf8CodeUnitCount)
        let fold: UInt8 = ignoringCase ? 0x20 : 0
        return line.indices.contains { place in
            line[place] | fold == mark[0] | fold && place + mark.count <= line.endIndex
                && mark.indices.allSatisfy { line[place + $0] | fold == mark[$0] | fold }
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }

    // MARK: Code

    struct Fence {
        var byte: UInt8
        var count: Int

        func isClosed(by line: Line) -> Bool {
            let run = line.prefix { $0 == byte }.count
            return run >= count && line.dropFirst(run).allSatisfy(BlockStart.isBlank)
        }
    }

    /// CommonMark §4.5.
    static func fence(_ line: Line) -> Fence? {
        guard let first = line.first, first == UInt8(ascii: "`") || first == UInt8(ascii: "~") else { return nil }
        let count = line.prefix { $0 == first }.count
        guard count >= 3, first == UInt8(ascii: "~") || !line.dropFirst(count).contains(first) else { return nil }
        return Fence(byte: first, count: count)
    }

    // MARK: Headings

    /// CommonMark §4.2.
    static func heading(_ line: Line) -> Int? {
        guard line.first == UInt8(ascii: "#") else { return nil }
        let level = line.prefix { $0 == UInt8(ascii: "#") }.count
        guard level <= 6 else { return nil }
        return line.dropFirst(level).first.map(isBlank) ?? true ? level : nil
    }

    /// A heading's text without the marks that close it.
    static func title(_ text: String) -> String {
        let text = text.trimmed
        let marks = text.reversed().prefix { $0 == "#" }.count
        guard marks > 0, marks == text.count || text.dropLast(marks).last?.isWhitespace == true else {
            return String(text)
        }
        return String(text.dropLast(marks).trimmed)
    }

    /// The level that a line of `=` or `-` gives to the text above it.
    static func underline(_ line: Line) -> Int? {
        guard let first = line.first, first == UInt8(ascii: "=") || first == UInt8(ascii: "-") else { return nil }
        guard line.drop(while: { $0 == first }).allSatisfy(isBlank) else { return nil }
        return first == UInt8(ascii: "=") ? 1 : 2
    }

    /// CommonMark §4.1.
    static func isThematicBreak(_ line: Line) -> Bool {
        guard let first = line.first,
            first == UInt8(ascii: "-") || first == UInt8(ascii: "*") || first == UInt8(ascii: "_")
        else { return false }
        var count = 0
        for byte in line where !isBlank(byte) {
            guard byte == first else { return false }
            count += 1
        }
        return count >= 3
    }

    // MARK: Lists

    struct Marker {
        /// `-`, `*`, `+`, or what stands behind a number.
        var byte: UInt8
        /// Of the bullet or number alone.
        var width: Int
        /// With the blanks that belong to it.
        var length: Int
        var hasTab: Bool
        var isDigit: Bool

        /// The column in which the item's text begins, of a marker in a column.
        func indent(at column: Int) -> Int { hasTab ? (column + width) / 4 * 4 + 4 : column + length }

        /// The columns that the item's lines lose, `blanks` being the characters before the marker.
        ///
        /// Seen in the caches: behind `1. ` it is one more where marker and blanks are an odd number of characters, and
        /// behind `1) ` it is not.
        func removed(at column: Int, blanks: Int) -> Int {
            indent(at: column) + (isDigit && byte == UInt8(ascii: ".") && (blanks + length) % 2 == 1 ? 1 : 0)
        }
    }

    /// CommonMark §5.2. Of more than four blanks only the first belongs to the marker.
    static func marker(_ line: Line) -> Marker? {
        guard let first = line.first else { return nil }
        var width = 1
        var mark = first
        var number = 10
        if isDigit(first) {
            let digits = line.prefix(10).prefix(while: isDigit)
            guard digits.count < 10, let end = line.dropFirst(digits.count).first,
                end == UInt8(ascii: ".") || end == UInt8(ascii: ")")
            else { return nil }
            width = digits.count + 1
            mark = end
            number = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        } else if first != UInt8(ascii: "-") && first != UInt8(ascii: "*") && first != UInt8(ascii: "+") {
            return nil
        }
        let rest = line.dropFirst(width)
        let length: Int
        if rest.first == 0x20 {
            let blanks = rest.prefix { $0 == 0x20 }.count
            length = width + (blanks <= 4 ? blanks : 1)
        } else if rest.isEmpty || rest.first == 0x09 {
            length = width + 1
        } else {
            return nil
        }
        return Marker(byte: mark, width: width, length: length, hasTab: rest.first == 0x09, isDigit: number < 10)
    }

    /// `[ ] `, with any one character in the brackets; the length is with the blank behind it.
    static func task(_ line: Line) -> (status: String, length: Int)? {
        guard line.first == UInt8(ascii: "["),
            let close = line.dropFirst(2).prefix(32).firstIndex(of: UInt8(ascii: "]")),
            close + 1 < line.endIndex, isBlank(line[close + 1])
        else { return nil }
        let status = String(decoding: line[(line.startIndex + 1)..<close], as: UTF8.self)
        return status.count == 1 ? (status, close + 2 - line.startIndex) : nil
    }

    // MARK: Others

    /// A block of `$$` goes on to the next of them; `$$x$$` is inline.
    static func isMath(_ line: Line) -> Bool { starts(line, "$$") && !contains(line.dropFirst(2), "$$") }

    /// A comment of lines goes on to the next `%%`; `%%x%%` is inline.
    static func isComment(_ line: Line) -> Bool { starts(line, "%%") && !contains(line.dropFirst(2), "%%") }

    /// The first line of a quote that is a callout: `[!type]`.
    static func isCallout(_ line: Line) -> Bool {
        starts(line, "[!") && line.dropFirst(3).contains(UInt8(ascii: "]"))
            && line.dropFirst(2).first != UInt8(ascii: "]")
    }

    /// Where the id in `[^id]:` is.
    static func footnote(_ line: Line) -> Range<Int>? {
        guard starts(line, "[^"), let close = line.firstIndex(of: UInt8(ascii: "]")), close > line.startIndex + 2,
            close + 1 < line.endIndex, line[close + 1] == UInt8(ascii: ":")
        else { return nil }
        return line[(line.startIndex + 2)..<close].contains(where: isBlank) ? nil : (line.startIndex + 2)..<close
    }

    /// `[label]: destination`, CommonMark §4.7.
    static func isDefinition(_ line: Line) -> Bool {
        guard line.first == UInt8(ascii: "["), let close = line.firstIndex(of: UInt8(ascii: "]")),
            close > line.startIndex + 1, close + 2 < line.endIndex
        else { return false }
        return line[close + 1] == UInt8(ascii: ":") && !line[(close + 2)...].allSatisfy(isBlank)
    }

    /// GFM §4.10: as many cells in the line below, all of them dashes.
    static func isTable(header: Line, delimiter: Line) -> Bool {
        guard delimiter.contains(UInt8(ascii: "-")), header.contains(UInt8(ascii: "|")),
            delimiter.allSatisfy({
                isBlank($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "|")
            })
        else { return false }
        return cells(header) == cells(delimiter)
    }

    private static func cells(_ line: Line) -> Int {
        var count = 1
        var isEscaped = false
        for byte in line {
            if byte == UInt8(ascii: "|"), !isEscaped { count += 1 }
            isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
        }
        if line.first == UInt8(ascii: "|") { count -= 1 }
        if let last = line.lastIndex(where: { !isBlank($0) }), last > line.startIndex, line[last] == UInt8(ascii: "|") {
            count -= 1
        }
        return count
    }

    /// The id in `text ^id`, or in `^id` alone.
    static func blockID(_ line: Line) -> String? {
        guard let last = line.lastIndex(where: { !isBlank($0) }) else { return nil }
        let id = line[...last].reversed().prefix { isDigit($0) || isLetter($0) || $0 == UInt8(ascii: "-") }.count
        let mark = last - id
        guard id > 0, mark >= line.startIndex, line[mark] == UInt8(ascii: "^"),
            mark == line.startIndex || isBlank(line[mark - 1])
        else { return nil }
        return String(decoding: line[(mark + 1)...last], as: UTF8.self)
    }

    // MARK: HTML

    enum HTML {
        case until(StaticString)
        case untilBlank
    }

    /// CommonMark §4.6. What is `interrupting` ends a paragraph.
    static func html(_ line: Line, interrupting: Bool) -> HTML? {
        guard line.first == UInt8(ascii: "<"), let second = line.dropFirst().first else { return nil }
        if starts(line, "<!--") { return .until("-->") }
        if starts(line, "<![CDATA[") { return .until("]]>") }
        if second == UInt8(ascii: "?") { return .until("?>") }
        if second == UInt8(ascii: "!") { return line.dropFirst(2).first.map(isLetter) == true ? .until(">") : nil }
        let isClosing = second == UInt8(ascii: "/")
        let rest = line.dropFirst(isClosing ? 2 : 1)
        let name = rest.prefix { isLetter($0) || isDigit($0) }
        guard let first = name.first, isLetter(first) else { return nil }
        let next = rest.dropFirst(name.count).first
        let isTag = next.map { isBlank($0) || $0 == UInt8(ascii: ">") || $0 == UInt8(ascii: "/") } ?? true
        guard isTag || next == UInt8(ascii: "-") else { return nil }
        if isTag {
            let tag = String(decoding: name, as: UTF8.self).lowercased()
            if !isClosing, let end = rawTags[tag] { return .until(end) }
            if blockTags.contains(tag) { return .untilBlank }
        }
        // Any other tag, alone on its line.
        guard !interrupting, let end = line.firstIndex(of: UInt8(ascii: ">")), line[(end + 1)...].allSatisfy(isBlank)
        else { return nil }
        return .untilBlank
    }

    private static let rawTags: [String: StaticString] = [
        "pre": "</pre>", "script": "</script>", "style": "</style>", "textarea": "</textarea>",
    ]

    private static let blockTags: Set = [
        "address", "article", "aside", "base", "basefont", "blockquote", "body", "caption", "center", "col", "colgroup",
        "dd", "details", "dialog", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form",
        "frame", "frameset", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "iframe", "legend",
        "li", "link", "main", "menu", "menuitem", "nav", "noframes", "ol", "optgroup", "option", "p", "param", "search",
        "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "title", "tr", "track", "ul",
    ]
}
