/// The blocks of a note: its sections, headings, list items and footnotes, and which lines hold prose.
///
/// Obsidian's caches show the rules of remark-parse 8 with its option `commonmark`, and not those of cmark-gfm: where a
/// nested item begins, where an item ends, that `1.` takes one blank more than `1)`; and `%%` is Obsidian's own. What
/// neither says follows CommonMark 0.31.
struct BlockScanner {
    /// Where the prose of each line begins, behind the marks of quotes, items and headings; nil where there is none.
    private(set) var prose: [Int?]
    private(set) var sections: [NoteSection]
    private(set) var headings: [Heading] = []
    /// In the order in which they begin.
    var items: [ListItem] = []
    private(set) var footnotes: [Footnote] = []
    /// What links can name by `^id`.
    private(set) var blocks: [BlockID] = []
    let text: TextLines
    private var names: [(id: String, line: Int, owner: Owner)] = []

    /// A line as a container sees it: from behind the marks and the indent that belong to the container.
    struct Row {
        var line: Int
        var start: Int
    }

    /// What is around a block.
    struct Context {
        var depth = 0
        var item: Int?
        var isComment = false
        var isTop: Bool { depth == 0 }

        func inside(item: Int? = nil) -> Context {
            Context(depth: depth + 1, item: item ?? self.item, isComment: isComment)
        }
    }

    private enum Owner {
        case item(Int)
        case section(Int)
    }

    /// Deeper marks are text. It keeps the work for each line within bounds.
    static let deepest = 64

    /// `front` is the section before `firstLine`, if there is one.
    static func scan(_ text: TextLines, from firstLine: Int, front: NoteSection?) -> BlockScanner {
        var scanner = BlockScanner(text, front)
        scanner.blocks(
            (firstLine..<text.lines.count).map { Row(line: $0, start: text.lines[$0].lowerBound) }, Context())
        scanner.name()
        return scanner
    }

    private init(_ text: TextLines, _ front: NoteSection?) {
        self.text = text
        prose = Array(repeating: nil, count: text.lines.count)
        sections = front.map { [$0] } ?? []
    }

    // MARK: Lines

    func end(_ row: Row) -> Int { text.lines[row.line].upperBound }

    /// The columns of white space at a row's start, and where its text begins.
    func indent(_ row: Row) -> (width: Int, start: Int) { text.indent(row.start..<end(row)) }

    func isBlank(_ row: Row) -> Bool { indent(row).start == end(row) }

    func content(_ row: Row) -> ArraySlice<UInt8> { text.bytes[indent(row).start..<end(row)] }

    // MARK: Blocks

    mutating func blocks(_ rows: [Row], _ context: Context) {
        var at = 0
        while at < rows.count {
            if isBlank(rows[at]) {
                at += 1
                continue
            }
            let start = at
            let kind: NoteSection.Kind
            (kind, at) = block(rows, at, context)
            if kind == .list, !context.isComment, let item = context.item { endItem(item, before: start, of: rows) }
            if context.isTop {
                sections.append(
                    NoteSection(kind: kind, range: rows[start].start..<end(rows[at - 1]), line: rows[start].line))
            }
        }
    }

    /// The block that begins at a row, and the row behind it.
    private mutating func block(_ rows: [Row], _ at: Int, _ context: Context) -> (NoteSection.Kind, Int) {
        let (width, start) = indent(rows[at])
        if width >= 4 { return (.code, indentedCode(rows, at)) }
        let rest = text.bytes[start..<end(rows[at])]
        if let fence = BlockStart.fence(rest) { return (.code, fencedCode(rows, at, fence)) }
        if rest.first == UInt8(ascii: ">"), context.depth < Self.deepest { return quote(rows, at, context) }
        if let level = BlockStart.heading(rest) {
            heading(level, rows[at], start + level, rows[at], context)
            return (.heading, at + 1)
        }
        if BlockStart.isThematicBreak(rest) { return (.thematicBreak, at + 1) }
        if BlockStart.marker(rest) != nil, context.depth < Self.deepest { return (.list, list(rows, at, context)) }
        if let level = underline(rows, at + 1) {
            heading(level, rows[at], start, rows[at + 1], context)
            return (.heading, at + 2)
        }
        if let html = BlockStart.html(rest, interrupting: false) { return (.html, self.html(rows, at, html)) }
        if BlockStart.isMath(rest) { return (.math, behind("$$", rows, at + 1)) }
        if BlockStart.isComment(rest) { return (.comment, comment(rows, at, context)) }
        if let label = BlockStart.footnote(rest), context.depth < Self.deepest {
            return (.footnoteDefinition, footnote(label, rows, at, context))
        }
        if BlockStart.isDefinition(rest) {
            prose[rows[at].line] = start
            return (.definition, at + 1)
        }
        let isTable = at + 1 < rows.count && BlockStart.isTable(header: rest, delimiter: content(rows[at + 1]))
        return (isTable ? .table : .paragraph, paragraph(rows, at, from: isTable ? at + 2 : at + 1, context))
    }

    /// Whether a row ends the paragraph before it.
    func interrupts(_ rows: [Row], _ at: Int) -> Bool {
        let (width, start) = indent(rows[at])
        guard width < 4 else { return false }
        let rest = text.bytes[start..<end(rows[at])]
        guard let first = rest.first else { return true }
        // Most lines begin with a letter.
        if first | 0x20 >= UInt8(ascii: "a"), first != UInt8(ascii: "`"), first != UInt8(ascii: "~"),
            first != UInt8(ascii: "_")
        {
            return underline(rows, at + 1) != nil
        }
        return first == UInt8(ascii: ">") || BlockStart.fence(rest) != nil || BlockStart.heading(rest) != nil
            || BlockStart.isThematicBreak(rest) || BlockStart.marker(rest) != nil
            || BlockStart.html(rest, interrupting: true) != nil || BlockStart.isMath(rest) || BlockStart.isComment(rest)
            || underline(rows, at + 1) != nil
    }

    private mutating func paragraph(_ rows: [Row], _ at: Int, from next: Int, _ context: Context) -> Int {
        var end = next
        while end < rows.count, !interrupts(rows, end) { end += 1 }
        for row in rows[at..<end] { prose[row.line] = indent(row).start }
        name(rows[end - 1], isAlone: end == at + 1, context)
        return end
    }

    // MARK: Headings

    /// The level of a heading whose text is the row before; one row of it, as in remark.
    private func underline(_ rows: [Row], _ at: Int) -> Int? {
        guard at < rows.count else { return nil }
        let (width, start) = indent(rows[at])
        return width < 4 ? BlockStart.underline(text.bytes[start..<end(rows[at])]) : nil
    }

    private mutating func heading(_ level: Int, _ row: Row, _ start: Int, _ last: Row, _ context: Context) {
        prose[row.line] = start
        guard !context.isComment else { return }
        let title = BlockStart.title(text.text(start..<end(row)))
        headings.append(Heading(level: level, text: title, range: row.start..<end(last), line: row.line))
        name(row, isAlone: false, context)
    }

    // MARK: Code, math, HTML

    private func indentedCode(_ rows: [Row], _ at: Int) -> Int {
        var end = at + 1
        for row in (at + 1)..<rows.count {
            let (width, start) = indent(rows[row])
            if start == self.end(rows[row]) { continue }
            guard width >= 4 else { break }
            end = row + 1
        }
        return end
    }

    private func fencedCode(_ rows: [Row], _ at: Int, _ fence: BlockStart.Fence) -> Int {
        for row in (at + 1)..<rows.count where fence.isClosed(by: content(rows[row])) && indent(rows[row]).width < 4 {
            return row + 1
        }
        return rows.count
    }

    private func html(_ rows: [Row], _ at: Int, _ html: BlockStart.HTML) -> Int {
        for row in at..<rows.count {
            switch html {
            case .untilBlank: if isBlank(rows[row]) { return row }
            case .until(let mark):
                if BlockStart.contains(content(rows[row]), mark, ignoringCase: true) { return row + 1 }
            }
        }
        return rows.count
    }

    /// The row behind the first that has a mark.
    private func behind(_ mark: StaticString, _ rows: [Row], _ at: Int) -> Int {
        for row in at..<rows.count where BlockStart.contains(content(rows[row]), mark) { return row + 1 }
        return rows.count
    }

    // MARK: Containers

    /// `%%` around lines: links and tags in it count, headings and items do not.
    private mutating func comment(_ rows: [Row], _ at: Int, _ context: Context) -> Int {
        let end = behind("%%", rows, at + 1)
        guard context.depth < Self.deepest else { return end }
        var inner = Array(rows[at..<end])
        for place in [0, inner.count - 1] {
            let start = indent(inner[place]).start
            if BlockStart.starts(text.bytes[start..<self.end(inner[place])], "%%") { inner[place].start = start + 2 }
        }
        var inside = context.inside()
        inside.isComment = true
        blocks(inner, inside)
        return end
    }

    private mutating func quote(_ rows: [Row], _ at: Int, _ context: Context) -> (NoteSection.Kind, Int) {
        var inner: [Row] = []
        var tail = Tail()
        var place = at
        while place < rows.count {
            let row = rows[place]
            let (width, start) = indent(row)
            if width < 4, start < end(row), text.bytes[start] == UInt8(ascii: ">") {
                let isBlank = start + 1 < end(row) && (text.bytes[start + 1] == 0x20 || text.bytes[start + 1] == 0x09)
                inner.append(Row(line: row.line, start: start + (isBlank ? 2 : 1)))
                tail.saw(content(inner[inner.count - 1]))
            } else if tail.isParagraph, !interrupts(rows, place) {
                inner.append(row)
            } else {
                break
            }
            place += 1
        }
        blocks(inner, context.inside())
        return (BlockStart.isCallout(content(inner[0])) ? .callout : .blockquote, place)
    }

    /// What follows `[^id]:`, and indented lines behind it.
    private mutating func footnote(_ label: Range<Int>, _ rows: [Row], _ at: Int, _ context: Context) -> Int {
        var inner = [Row(line: rows[at].line, start: label.upperBound + 2)]
        var tail = Tail()
        tail.saw(content(inner[0]))
        var end = at + 1
        for place in (at + 1)..<rows.count {
            let row = rows[place]
            let (width, start) = indent(row)
            if start == self.end(row) {
                tail = Tail()
            } else if width >= 4 {
                tail.saw(content(row))
            } else if !tail.isParagraph || interrupts(rows, place) || BlockStart.footnote(content(row)) != nil {
                break
            }
            inner.append(Row(line: row.line, start: behind(4, row)))
            if start < self.end(row) { end = place + 1 }
        }
        if !context.isComment {
            footnotes.append(
                Footnote(id: text.text(label), range: rows[at].start..<self.end(rows[end - 1]), line: rows[at].line))
        }
        blocks(Array(inner.prefix(end - at)), context.inside())
        return end
    }

    // MARK: Block ids

    /// The name that a block's last row gives it: ` ^id` at its end, or alone in a block of its own.
    private mutating func name(_ row: Row, isAlone: Bool, _ context: Context) {
        guard !context.isComment, let id = BlockStart.blockID(content(row)) else { return }
        var owner = context.item.map { Owner.item($0) } ?? .section(sections.count)
        // It then names what it stands behind, if that has no place for a name.
        if context.isTop, isAlone, content(row).first == UInt8(ascii: "^"), let last = sections.last {
            switch last.kind {
            case .yaml, .heading, .paragraph, .comment: break
            default: owner = .section(sections.count - 1)
            }
        }
        names.append((id, row.line, owner))
    }

    private mutating func name() {
        for name in names {
            let range: Range<Int>
            switch name.owner {
            case .item(let index):
                items[index].id = name.id
                range = items[index].range
            case .section(let index):
                sections[index].id = name.id
                range = sections[index].range
            }
            blocks.append(BlockID(id: name.id, line: name.line, range: range))
        }
    }
}
