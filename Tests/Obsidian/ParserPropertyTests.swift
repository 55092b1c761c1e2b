import Glibc
import KnapJSON
import TestSupport
import Testing

@testable import Obsidian

@Suite("Whatever the text, a note that is read")
struct ParserPropertyTests {
    /// KNAP_SEED repeats a run.
    private static let seed =
        getenv("KNAP_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...UInt64.max)

    private static let pieces = [
        "- ", "* ", "1. ", "2) ", "> ", "  ", "\t", "    ", "\n", "\n\n", "\r\n", "```", "~~~", "---", "===", "# ",
        "#tag", "[[", "]]", "![[",
        "](", "[^1]", "[^1]: ", "%%", "$$", "$", "<!--", "-->", "<div>", "</div>", "`", "|", "|-|", " ^id",
        "^id", "\\", "[ ] ", "[!note]", "😀", "ä", "\u{FEFF}", "\u{200B}", "\0", "&", ":",
    ]

    @Test("has positions in its text, on characters and in order", .enabled(if: TestData.isThere))
    func positions() throws {
        print("KNAP_SEED=\(Self.seed)")
        var random = SeededGenerator(seed: Self.seed)
        let folder = try TestData.vault("obsidian-cache")
        let texts = try TestData.files(in: folder).filter { $0.hasSuffix(".json") }.map {
            try JSON.parse(TestData.read(folder + "/" + $0))["fileContents"]?.stringValue ?? ""
        }
        for round in 0..<20_000 {
            let text = Self.mutated(texts, &random)
            let problems = Self.problems(text)
            guard problems.isEmpty else {
                let found = problems.joined(separator: "; ")
                Issue.record("KNAP_SEED=\(Self.seed), round \(round): \(found)\n\(text.debugDescription)")
                return
            }
        }
    }

    @Test("of a canvas has places of strings in it, and is rewritten to a canvas")
    func canvases() throws {
        print("KNAP_SEED=\(Self.seed)")
        var random = SeededGenerator(seed: Self.seed)
        let rewriter = LinkRewriter(
            before: LinkResolver(paths: ["a.canvas", "n.md", "m.md"]),
            after: LinkResolver(paths: ["b/a.canvas", "c/n.md", "m.md"]),
            moved: ["n.md": "c/n.md", "a.canvas": "b/a.canvas"], form: .shortest)
        let text = #"""
            {"nodes": [{"type": "file", "file": "n.md"},
            {"type": "text", "text": "[[n]] \"ä\" [x](./m.md)\n"}, {"x": [1, {}]}],
            "edges": [{"a": "b"}]}
            """#
        for round in 0..<20_000 {
            let text = Self.mutated([text], &random)
            guard let canvas = Canvas.read(text) else { continue }
            let bytes = Array(text.utf8)
            for node in canvas.nodes {
                let isString = (try? JSON.parse(Array(bytes[node.range])))?.stringValue != nil
                #expect(isString, "KNAP_SEED=\(Self.seed), round \(round): \(text.debugDescription)")
            }
            guard let rewritten = try rewriter.rewrite(text, in: "a.canvas") else { continue }
            #expect(
                Canvas.read(rewritten)?.nodes.count == canvas.nodes.count,
                "KNAP_SEED=\(Self.seed), round \(round): \(text.debugDescription)")
        }
    }

    @Test("of whatever link can be written anew where it is")
    func linksWrittenAnew() {
        print("KNAP_SEED=\(Self.seed)")
        var random = SeededGenerator(seed: Self.seed)
        let texts = [
            "[[n]] ![[a b#h|x]] [[ n | y ]]\n| a |\n|---|\n| [[n\\|x]] |\n", "---\nk: \"[[n|x]]\"\nl: ['[[a#b]]', \"[[\\u00e9]]\"]\n---\n[[n]]",
        ]
        let wanted = "New (1) 50% é"
        for round in 0..<20_000 {
            let text = Self.mutated(texts, &random)
            let editor = LinkEditor(path: "n.md") { link in
                link.target.isEmpty ? nil : LinkDestination(target: wanted, subpath: link.subpath)
            }
            do {
                // A link that could not be written would keep every move of what it leads to from being made.
                _ = try editor.edit(text, isCanvas: false)
            } catch {
                Issue.record("KNAP_SEED=\(Self.seed), round \(round): \(error) \(text.debugDescription)")
            }
        }
    }

    private static func mutated(_ texts: [String], _ random: inout SeededGenerator) -> String {
        var bytes = Array(texts.randomElement(using: &random)!.utf8.prefix(2000))
        for _ in 0..<Int.random(in: 1...12, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1, 2: bytes.insert(contentsOf: pieces.randomElement(using: &random)!.utf8, at: place)
            case 3: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 0...20, using: &random)))
            case 4:
                let other = Array(texts.randomElement(using: &random)!.utf8)
                let start = Int.random(in: 0...other.count, using: &random)
                bytes.insert(contentsOf: other[start..<min(other.count, start + 80)], at: place)
            default: if place < bytes.count { bytes[place] = UInt8.random(in: 0...255, using: &random) }
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func problems(_ text: String) -> [String] {
        let note = NoteParser.parse(text)
        let lines = TextLines(text)
        var problems: [String] = []
        func check(_ condition: Bool, _ problem: @autoclosure () -> String) {
            if !condition { problems.append(problem()) }
        }
        func checkRange(_ range: Range<Int>, _ line: Int, _ what: String) {
            let isInside = range.upperBound <= lines.bytes.count
            check(isInside, "\(what) \(range) is not in the text")
            guard isInside else { return }
            for place in [range.lowerBound, range.upperBound] where place < lines.bytes.count {
                check(lines.bytes[place] & 0xC0 != 0x80, "\(what) \(range) cuts a character")
            }
            check(
                TextPositions(lines)[range.lowerBound].line == line, "\(what) \(range) does not begin in line \(line)")
        }
        for link in note.links {
            checkRange(link.range, link.line, "link")
            check(lines.text(link.range) == link.original, "link \(link.original) is not at \(link.range)")
        }
        for tag in note.tags {
            checkRange(tag.range, tag.line, "tag")
            check(lines.text(tag.range) == "#" + tag.name, "tag \(tag.name) is not at \(tag.range)")
        }
        for heading in note.headings { checkRange(heading.range, heading.line, "heading") }
        for footnote in note.footnotes + note.footnoteReferences {
            checkRange(footnote.range, footnote.line, "footnote")
        }
        for block in note.blocks {
            check(
                lines.text(line: block.line).contains("^" + block.id), "block \(block.id) is not in line \(block.line)")
        }
        for (index, item) in note.items.enumerated() {
            checkRange(item.range, item.line, "item")
            check(item.listLine <= item.line, "item in line \(item.line) is before its list")
            guard let parent = item.parent else { continue }
            check(
                parent < index && note.items[parent].line <= item.line,
                "item in line \(item.line) is not behind its parent")
        }
        // Every line that has text is in one section.
        var line = 0
        for section in note.sections {
            checkRange(section.range, section.line, "section")
            check(section.line >= line, "section in line \(section.line) is in another")
            for gap in line..<max(line, section.line) {
                check(
                    lines.indent(lines.lines[gap]).start == lines.lines[gap].upperBound, "line \(gap) is in no section")
            }
            line = TextPositions(lines)[section.range.upperBound].line + 1
        }
        for gap in min(line, lines.lines.count)..<lines.lines.count {
            check(lines.indent(lines.lines[gap]).start == lines.lines[gap].upperBound, "line \(gap) is in no section")
        }
        return problems
    }

    @Test(
        "takes time in proportion to its length",
        arguments: [
            ">", "> ", "- ", "1. ", "  - a\n", "[", "[[", "![", "[](", "[ ", "`", "`a``", "$a ", "$$", "<a ", "<!--",
            "#a ", "[^", "[^1]: ", "%%\n", "%%",
            "a ^b", "|", "|a\n|-\n", "\\", "```\n", "<div>\n", "> - ", ">\n", "-\n\n", "- a\n\n", "*", "---\n", "===\n",
            "\t", "a\n",
        ])
    func isLinear(piece: String) {
        let text = String(repeating: piece, count: 200_000 / piece.utf8.count)
        let time = ContinuousClock().measure { _ = NoteParser.parse(text) }
        #expect(time < .seconds(5), "\(piece.debugDescription): \(time)")
    }
}
