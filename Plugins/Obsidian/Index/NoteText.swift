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
    private lazy var start = FrontMatter.bounds(layout).map { $0.end + 1 } ?? 0

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
        let starts = [0] + parsed.headings.map(\.line).filter { $0 > 0 }
        return zip(starts, starts.dropFirst() + [lines.upperBound]).map { $0..<$1 }
    }()

    struct Block {
        var lines: Range<Int>
        /// What stands in the brackets of a task.
        var mark: Character?
    }

    /// Paragraphs, headings, list items without those in them, and code as a whole.
    private(set) lazy var blocks: [Block] = {
        var blocks: [Block] = []
        var items = parsed.items[...]
        for section in parsed.sections {
            let lines = lines(of: section.range)
            let inside = items.prefix { $0.line < lines.upperBound }
            items = items.dropFirst(inside.count)
            // A quote may have words before its list.
            let first = inside.first?.line ?? lines.upperBound
            if first > lines.lowerBound { blocks.append(Block(lines: lines.lowerBound..<first)) }
            for item in inside { blocks.append(Block(lines: self.lines(of: item.range), mark: item.task?.first)) }
        }
        return blocks
    }()

    private func lines(of range: Range<Int>) -> Range<Int> {
        let first = layout.line(at: range.lowerBound)
        return first..<layout.line(at: max(range.lowerBound, range.upperBound - 1)) + 1
    }
}
