/// Which lines of a note are prose, and which are headings, code, math or HTML.
///
/// Follows CommonMark's block rules as far as they decide where links and tags count: fenced code, indented code outside
/// lists, HTML blocks, `$$` math and comments; quotes and list items are looked into.
struct BlockScanner {
    enum Line: Sendable, Equatable {
        /// Text from this offset on, behind the marks of quotes and lists.
        case prose(start: Int)
        case heading(level: Int, start: Int)
        case hidden
    }

    private let text: TextLines
    private var kinds: [Line] = []

    init(_ text: TextLines) { self.text = text }

    static func scan(_ text: TextLines, from firstLine: Int) -> [Line] {
        var scanner = BlockScanner(text)
        scanner.run(from: firstLine)
        return scanner.kinds
    }

    private enum Open {
        case none
        case fence(byte: UInt8, count: Int, quotes: Int)
        case math
        case comment
        case html
    }

    private mutating func run(from firstLine: Int) {
        kinds = Array(repeating: .hidden, count: firstLine)
        var open = Open.none
        var previousIsBlank = true
        var listIndent: Int?
        for line in firstLine..<text.lines.count {
            let (quotes, start, indent) = behindQuotes(line)
            let rest = text.bytes[start..<text.lines[line].upperBound]
            let isBlank = rest.isEmpty
            switch open {
            case .fence(let byte, let count, let depth):
                kinds.append(.hidden)
                let run = rest.prefix { $0 == byte }.count
                let closes = run >= count && rest.dropFirst(run).allSatisfy { $0 == 0x20 || $0 == 0x09 }
                if closes || quotes < depth { open = .none }
                continue
            case .math:
                kinds.append(.hidden)
                if contains("$$", rest) { open = .none }
                continue
            case .comment:
                kinds.append(.hidden)
                if contains("-->", rest) { open = .none }
                continue
            case .html:
                if isBlank { open = .none }
                kinds.append(.hidden)
                previousIsBlank = isBlank
                continue
            case .none: break
            }
            if isBlank {
                kinds.append(.prose(start: start))
                previousIsBlank = true
                continue
            }
            let item = listItem(rest, indent: indent)
            if let item { listIndent = item }
            if item == nil, let inside = listIndent, previousIsBlank, indent < inside { listIndent = nil }
            if item == nil, listIndent == nil, indent >= 4, previousIsBlank || isCode(line - 1) {
                kinds.append(.hidden)
                previousIsBlank = false
                continue
            }
            let body = item.map { _ in behindMarker(rest) } ?? start
            open = opened(body, line, quotes)
            if case .none = open { kinds.append(kind(body, line)) } else { kinds.append(.hidden) }
            previousIsBlank = false
        }
    }

    private func isCode(_ line: Int) -> Bool { line >= 0 && line < kinds.count && kinds[line] == .hidden && text.indent(line: line).width >= 4 }

    private func behindQuotes(_ line: Int) -> (quotes: Int, start: Int, indent: Int) {
        let end = text.lines[line].upperBound
        var (indent, start) = text.indent(line: line)
        var quotes = 0
        while start < end, text.bytes[start] == UInt8(ascii: ">"), indent < 4 || quotes > 0 {
            quotes += 1
            start += 1
            indent = 0
            while start < end, text.bytes[start] == 0x20 || text.bytes[start] == 0x09 {
                indent += 1
                start += 1
            }
        }
        return (quotes, start, indent)
    }

    /// The indent of a list item's content, if the line begins one.
    private func listItem(_ rest: ArraySlice<UInt8>, indent: Int) -> Int? {
        let marker = markerLength(rest)
        return marker > 0 ? indent + marker + 1 : nil
    }

    private func markerLength(_ rest: ArraySlice<UInt8>) -> Int {
        guard let first = rest.first else { return 0 }
        var length = 0
        if first == UInt8(ascii: "-") || first == UInt8(ascii: "*") || first == UInt8(ascii: "+") {
            length = 1
        } else {
            let digits = rest.prefix { (0x30...0x39).contains($0) }.count
            guard (1...9).contains(digits), let mark = rest.dropFirst(digits).first,
                mark == UInt8(ascii: ".") || mark == UInt8(ascii: ")")
            else { return 0 }
            length = digits + 1
        }
        guard let next = rest.dropFirst(length).first else { return length }
        return next == 0x20 || next == 0x09 ? length : 0
    }

    /// Behind the marker of a list item and those of items in it.
    private func behindMarker(_ rest: ArraySlice<UInt8>) -> Int {
        var rest = rest
        while case let length = markerLength(rest), length > 0, !rest.isEmpty {
            rest = rest.dropFirst(length).drop { $0 == 0x20 || $0 == 0x09 }
        }
        return rest.startIndex
    }

    /// What begins here that hides lines.
    private func opened(_ start: Int, _ line: Int, _ quotes: Int) -> Open {
        let rest = text.bytes[start..<text.lines[line].upperBound]
        guard let first = rest.first else { return .none }
        if first == UInt8(ascii: "`") || first == UInt8(ascii: "~") {
            let count = rest.prefix { $0 == first }.count
            let info = rest.dropFirst(count)
            if count >= 3, first == UInt8(ascii: "~") || !info.contains(UInt8(ascii: "`")) {
                return .fence(byte: first, count: count, quotes: quotes)
            }
        }
        if starts(rest, "$$"), !contains("$$", rest.dropFirst(2)) { return .math }
        if starts(rest, "<!--"), !contains("-->", rest) { return .comment }
        if first == UInt8(ascii: "<"), isBlockTag(rest) { return .html }
        return .none
    }

    /// CommonMark §4.6, conditions 1 and 6.
    private static let blockTags: Set = [
        "address", "article", "aside", "base", "blockquote", "body", "caption", "center", "col", "colgroup", "dd", "details",
        "dialog", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frame", "frameset", "h1",
        "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "iframe", "legend", "li", "link", "main", "menu",
        "menuitem", "nav", "noframes", "ol", "optgroup", "option", "p", "param", "pre", "script", "search", "section",
        "style", "summary", "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "title", "tr", "track", "ul",
    ]

    private func isBlockTag(_ rest: ArraySlice<UInt8>) -> Bool {
        let name = rest.dropFirst().drop { $0 == UInt8(ascii: "/") }.prefix { byte in
            (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte)
        }
        return Self.blockTags.contains(String(decoding: name, as: UTF8.self).lowercased())
    }

    private func kind(_ start: Int, _ line: Int) -> Line {
        let rest = text.bytes[start..<text.lines[line].upperBound]
        let level = rest.prefix { $0 == UInt8(ascii: "#") }.count
        guard (1...6).contains(level) else { return .prose(start: start) }
        guard let next = rest.dropFirst(level).first else { return .heading(level: level, start: start + level) }
        guard next == 0x20 || next == 0x09 else { return .prose(start: start) }
        return .heading(level: level, start: start + level)
    }

    private func starts(_ bytes: ArraySlice<UInt8>, _ text: StaticString) -> Bool {
        bytes.starts(with: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private func contains(_ text: StaticString, _ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.indices.contains { starts(bytes[$0...], text) }
    }
}
