import KnapJSON

/// One note as a query looks at it. Each view of it is made when it is first asked for.
final class NoteText {
    let path: String
    let title: String
    private let text: String
    private let storedProperties: String

    /// `properties` is a JSON object.
    init(path: String, properties: String, text: String) {
        self.path = path
        self.text = text
        title = VaultPath(trusted: path).title
        storedProperties = properties
    }

    var name: String { VaultPath(trusted: path).name }

    private(set) lazy var properties = (try? JSON.parse(storedProperties))?.objectValue ?? JSONObject()
    private lazy var parsed = NoteParser.parse(text)
    private lazy var layout = TextLines(text)
    /// The first line behind the properties.
    private lazy var start = FrontMatter.unreadableEnd(layout) ?? 0
    private lazy var kinds = BlockScanner.scan(layout, from: start)

    /// The text as a comparison with or without regard to case sees it, and where its lines begin.
    final class View {
        let bytes: [UInt8]
        private(set) lazy var starts: [Int] = {
            var starts = [0]
            for (place, byte) in bytes.enumerated() where byte == 0x0A { starts.append(place + 1) }
            return starts
        }()

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        func range(_ lines: Range<Int>) -> Range<Int> {
            starts[lines.lowerBound]..<(lines.upperBound < starts.count ? starts[lines.upperBound] - 1 : bytes.count)
        }

        func line(of place: Int) -> Int {
            var low = 0
            var high = starts.count
            while high - low > 1 {
                let middle = (low + high) / 2
                if starts[middle] <= place { low = middle } else { high = middle }
            }
            return low
        }
    }

    private(set) lazy var folded = View(Folding.bytes(text))
    private(set) lazy var exact = View(layout.bytes)
    private(set) lazy var foldedTitle = Folding.bytes(title)

    func view(matchingCase: Bool) -> View { matchingCase ? exact : folded }

    var lines: Range<Int> { 0..<layout.lines.count }

    func line(_ number: Int) -> String { layout.text(line: number) }

    // MARK: Parts

    /// Tags with where they are; those of the properties are in the lines of these.
    private(set) lazy var tags: [(name: String, line: Int)] = {
        let front = parsed.frontMatter
        return (front?.tags ?? []).map { ($0, propertyLine("tags", containing: $0)) }
            + parsed.tags.map { ($0.name, $0.line) }
    }()

    /// Where a property is written.
    func propertyLine(_ name: String, containing value: String = "") -> Int {
        let lines = 0..<start
        let name = Folding.bytes(name)
        let value = Folding.bytes(value)
        func has(_ line: Int, _ text: [UInt8]) -> Bool {
            folded.bytes.firstPlace(of: text, in: folded.range(line..<line + 1)) != nil
        }
        let first = lines.first { has($0, name + [0x3A]) } ?? lines.first { has($0, name) } ?? 0
        return lines.first { $0 >= first && has($0, value) } ?? first
    }

    /// Between two headings; a heading belongs to what follows it.
    private(set) lazy var sections: [Range<Int>] = {
        let headings = kinds.indices.filter { if case .heading = kinds[$0] { true } else { false } }
        let starts = [0] + headings.filter { $0 > 0 }
        return zip(starts, starts.dropFirst() + [lines.upperBound]).map { $0..<$1 }
    }()

    private enum Item {
        case plain
        case task(Character)

        var mark: Character? { if case .task(let mark) = self { mark } else { nil } }
    }

    struct Block {
        var lines: Range<Int>
        /// What stands in the brackets of a task.
        var mark: Character?
    }

    /// Paragraphs, headings, list items without those in them, and code as a whole.
    private(set) lazy var blocks: [Block] = {
        var blocks: [Block] = start > 0 ? [Block(lines: 0..<start)] : []
        var open: Block?
        func close() {
            if let block = open { blocks.append(block) }
            open = nil
        }
        var previous = BlockScanner.Line.hidden
        for line in start..<lines.upperBound {
            defer { previous = kinds[line] }
            switch kinds[line] {
            case .hidden:
                if previous != .hidden { close() }
            case .heading: close()
            case .prose:
                if previous == .hidden { close() }
                if case .heading = previous { close() }
                if layout.isBlank(line: line) {
                    close()
                    continue
                }
                if let item = item(line) {
                    close()
                    open = Block(lines: line..<line + 1, mark: item.mark)
                    continue
                }
            }
            open = Block(lines: (open?.lines.lowerBound ?? line)..<line + 1, mark: open?.mark)
        }
        close()
        return blocks
    }()

    /// The list item that begins in a line, and its mark when it is a task: `- [x] text`, `1. [ ] text`.
    private func item(_ line: Int) -> Item? {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        let text = layout.bytes[layout.lines[line]].drop { isBlank($0) || $0 == UInt8(ascii: ">") }
        let digits = text.prefix { 0x30...0x39 ~= $0 }
        let signs: StaticString = digits.isEmpty ? "-*+" : ".)"
        guard let sign = text.dropFirst(digits.count).first, signs.withUTF8Buffer({ $0.contains(sign) }) else {
            return nil
        }
        var rest = text.dropFirst(digits.count + 1)
        guard rest.first.map(isBlank) ?? true else { return nil }
        rest = rest.drop(while: isBlank)
        guard rest.first == UInt8(ascii: "[") else { return .plain }
        let inside = String(decoding: rest.dropFirst().prefix { $0 != UInt8(ascii: "]") }.prefix(64), as: UTF8.self)
        let behind = rest.dropFirst(inside.utf8.count + 1)
        guard inside.count == 1, behind.first == UInt8(ascii: "]"), behind.dropFirst().first.map(isBlank) ?? true else {
            return .plain
        }
        return .task(inside.first!)
    }
}
