/// Lists, by the rules of remark-parse 8.
extension BlockScanner {
    /// One item of a list while its end is sought.
    private struct Item {
        var first: Int
        var end: Int
        var marker: BlockStart.Marker
        /// The column from which lines belong to it.
        var indent: Int
        /// Whether a blank line and another item follow.
        var isLoose = false
    }

    mutating func list(_ rows: [Row], _ at: Int, _ context: Context) -> Int {
        let items = items(of: rows, at)
        for item in items { scan(item, rows, listLine: rows[at].line, context) }
        return items[items.count - 1].end
    }

    private func items(of rows: [Row], _ at: Int) -> [Item] {
        var items: [Item] = []
        var tail = Tail()
        var isBehindBlank = false
        for place in at..<rows.count {
            let (width, start) = indent(rows[place])
            let rest = text.bytes[start..<end(rows[place])]
            if rest.isEmpty {
                isBehindBlank = true
                continue
            }
            if let item = items.last, width >= item.indent || width > 4 {
                tail.saw(rest)
            } else if width < 4, let marker = BlockStart.marker(rest), !BlockStart.isThematicBreak(rest) {
                if let last = items.last {
                    guard last.marker.byte == marker.byte else { break }
                    items[items.count - 1].isLoose = isBehindBlank
                }
                items.append(Item(first: place, end: place + 1, marker: marker, indent: marker.indent(at: width)))
                tail = Tail()
                tail.saw(rest.dropFirst(marker.length))
            } else if isBehindBlank || !tail.isParagraph || interrupts(rows, place) {
                break
            }
            items[items.count - 1].end = place + 1
            isBehindBlank = false
        }
        return items
    }

    private mutating func scan(_ item: Item, _ rows: [Row], listLine: Int, _ context: Context) {
        let first = rows[item.first]
        let (width, start) = indent(first)
        var content = Row(line: first.line, start: min(start + item.marker.length, end(first)))
        let task = BlockStart.task(text.bytes[content.start..<end(first)])
        if let task { content.start += task.length }
        let removed = item.marker.removed(at: width, blanks: start - first.start)
        let inner = [content] + unindented(rows[(item.first + 1)..<item.end], by: removed)
        var inside = context.inside()
        if !context.isComment {
            // Seen in the caches: the blank line between two items belongs to the first.
            let last = item.isLoose ? rows[item.end].start : end(rows[item.end - 1])
            inside = context.inside(item: items.count)
            items.append(
                ListItem(
                    range: first.start..<last, line: first.line, parent: context.item, listLine: listLine,
                    task: task?.status))
        }
        blocks(inner, inside)
    }

    /// Takes the same indent from each row: the least that one of them has, and at most `most` columns.
    private func unindented(_ rows: ArraySlice<Row>, by most: Int) -> [Row] {
        var least = most
        for row in rows {
            let (width, start) = indent(row)
            if start < end(row), width > 0 { least = min(least, width) }
        }
        return rows.map { Row(line: $0.line, start: behind(least, $0)) }
    }

    /// Where a row goes on behind some columns of white space; a tab is never cut in two.
    func behind(_ columns: Int, _ row: Row) -> Int {
        var width = 0
        var place = row.start
        while width < columns, place < end(row) {
            switch text.bytes[place] {
            case UInt8(ascii: " "): width += 1
            case UInt8(ascii: "\t"): width += 4 - width % 4
            default: return place
            }
            place += 1
        }
        return place
    }

    /// Seen in the caches: an item ends where the first list in it begins.
    mutating func endItem(_ item: Int, before place: Int, of rows: [Row]) {
        guard rows[place].line > items[item].line else { return }
        let last = rows[..<place].last { !isBlank($0) }?.line ?? rows[place].line - 1
        let end = max(items[item].range.lowerBound, text.lines[last].upperBound)
        if end < items[item].range.upperBound { items[item].range = items[item].range.lowerBound..<end }
    }
}

/// What the lines of a container have come to: whether a line without its marks goes on with its last paragraph
/// (CommonMark §5.1, laziness).
struct Tail {
    private(set) var isParagraph = false
    private var fence: BlockStart.Fence?

    mutating func saw(_ line: ArraySlice<UInt8>) {
        let content = line.drop { $0 == 0x20 || $0 == 0x09 }
        if let open = fence {
            if open.isClosed(by: content) { fence = nil }
            return
        }
        fence = BlockStart.fence(content)
        isParagraph =
            !content.isEmpty && fence == nil && BlockStart.heading(content) == nil
            && !BlockStart.isThematicBreak(content)
    }
}
