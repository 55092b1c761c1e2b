import Testing

@testable import Obsidian

/// What no recorded cache shows: CommonMark 0.31, GFM and Obsidian's help.
@Suite("The blocks of a note")
struct BlockTests {
    private func sections(_ text: String) -> [String] {
        let lines = TextLines(text)
        let positions = TextPositions(lines)
        return NoteParser.parse(text).sections.map {
            let last = positions[$0.range.upperBound].line
            return "\($0.kind.rawValue) \($0.line)" + (last > $0.line ? "-\(last)" : "")
                + ($0.id.map { " ^\($0)" } ?? "")
        }
    }

    @Test(
        "are found by how they begin and end",
        arguments: [
            ("a\n===\n\nb\nc\n---\n", ["heading 0-1", "paragraph 3", "heading 4-5"]),
            ("a\n***\n- - -\n_ _ _", ["paragraph 0", "thematicBreak 1", "thematicBreak 2", "thematicBreak 3"]),
            ("| a | b |\n|---|:-:|\n| 1 | 2 |\n\n|a|\n|-|-|", ["table 0-2", "paragraph 4-5"]),
            ("    code\n\n    more\n\ntext\n    goes on", ["code 0-2", "paragraph 4-5"]),
            ("~~~\n```\n~~~\n```never closed\n# no heading", ["code 0-2", "code 3-4"]),
            ("$$\nx\n$$\n$$y$$ inline", ["math 0-2", "paragraph 3"]),
            ("<div>\n# no heading\n\n<b>\n\n<!-- a\n\nb -->\ntext", ["html 0-1", "html 3", "html 5-7", "paragraph 8"]),
            ("text\n<b>\ntext", ["paragraph 0-2"]),
            (
                "[^1]: note\n    goes on\n\n    and on\n\n[ref]: x.md\ntext",
                ["footnoteDefinition 0-3", "definition 5", "paragraph 6"]
            ),
            (
                "%% a %% inline\n\n%% block\n# no heading\n- [ ] no task\n%%\n# heading",
                ["paragraph 0", "comment 2-5", "heading 6"]
            ),
            ("> a\nlazy\n\n> ```\n> b\nnot lazy", ["blockquote 0-1", "blockquote 3-4", "paragraph 5"]),
            ("> [!note]- Title\n> text\n\n> [!]", ["callout 0-1", "blockquote 3"]),
            ("- a\n\n  b\n\n\nc", ["list 0-2", "paragraph 5"]),
            ("- a\n* b\n1. c\n2) d", ["list 0", "list 1", "list 2", "list 3"]),
            ("---\na: [\n---\ntext", ["yaml 0-2", "paragraph 3"]),
            ("a\r\n\r\n# b\r\n", ["paragraph 0", "heading 2"]),
            ("", []), ("\n \n\t\n", []),
        ])
    func kinds(text: String, expected: [String]) { #expect(sections(text) == expected) }

    @Test(
        "are named by an id behind them or below them",
        arguments: [
            ("text\nmore ^a-1", ["paragraph 0-1 ^a-1"], ["a-1 0-1"]),
            ("- x\n- y\n\n^list", ["list 0-1 ^list", "paragraph 3"], ["list 0-1"]),
            (
                "> q\n\n^q\n\n| a |\n|-|\n\n^t", ["blockquote 0 ^q", "paragraph 2", "table 4-5 ^t", "paragraph 7"],
                ["q 0", "t 4-5"]
            ),
            ("- x ^x\n  - y\n    goes on ^y", ["list 0-2"], ["x 0", "y 1-2"]),
            ("a^no\n\nb ^no!\n\n`^no`", ["paragraph 0", "paragraph 2", "paragraph 4"], []),
            ("```\nx ^no\n```\n%%\ny ^no\n%%", ["code 0-2", "comment 3-5"], []),
            ("# Heading ^h", ["heading 0 ^h"], ["h 0"]),
        ])
    func ids(text: String, expected: [String], blocks: [String]) {
        #expect(sections(text) == expected)
        let positions = TextPositions(TextLines(text))
        let found = NoteParser.parse(text).blocks.map { block in
            let lines = (positions[block.range.lowerBound].line, positions[block.range.upperBound].line)
            return "\(block.id) \(lines.0)" + (lines.1 > lines.0 ? "-\(lines.1)" : "")
        }
        #expect(found == blocks)
    }

    @Test("list items know their parents and states, however they are indented")
    func items() {
        let text = "- [x] a\n\t- [/] b\n\t\t1. c\n- d\n\n> * [ ] e\n>     * f\n\n10. g\n    - [-] h\n- [] i\n- [xx] j"
        let items = NoteParser.parse(text).items.map {
            "\($0.line) \($0.parent.map(String.init) ?? "root") \($0.task ?? "none")"
        }
        #expect(
            items == [
                "0 root x", "1 0 /", "2 1 none", "3 root none", "5 root  ", "6 4 none", "8 root none", "9 6 -",
                "10 root none", "11 root none",
            ])
    }

    @Test("a list in a quote in an item ends the item too")
    func listInQuote() {
        let items = NoteParser.parse("- a\n  > - b\n  > - c").items
        #expect(items.map(\.range) == [0..<3, 8..<11, 16..<19])
    }

    @Test("footnotes and their references are kept apart from links")
    func footnotes() {
        let note = NoteParser.parse(
            "a[^1] b[^long-name] [^x](Note.md) [^not closed\n\n[^1]: see [[Other]]\n[^long-name]: b")
        #expect(note.footnoteReferences.map(\.id) == ["1", "long-name"])
        #expect(note.footnotes.map(\.id) == ["1", "long-name"])
        #expect(note.links.map(\.target) == ["Note.md", "Other"])
    }

    @Test("a comment that never closes hides no more than its paragraph")
    func openComment() {
        let links = NoteParser.parse("a <!-- [[b]]\n[[c]] --> [[d]] <!-- [[e]]\n\n[[f]]").links
        #expect(links.map(\.target) == ["d", "f"])
    }

    @Test("positions count UTF-16 units")
    func positions() {
        let text = "ä😀b\r\n漢[[x]]"
        let positions = TextPositions(TextLines(text))
        #expect(positions[7] == TextPosition(line: 0, column: 4, offset: 4))
        let link = NoteParser.parse(text).links[0]
        #expect(positions[link.range.lowerBound] == TextPosition(line: 1, column: 1, offset: 7))
        #expect(positions[link.range.upperBound] == TextPosition(line: 1, column: 6, offset: 12))
    }
}
