import KnapJSON
import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

/// Makes one edit, with the arguments of edit_note.
private func edit(_ text: String, _ arguments: JSON) throws(VaultError) -> String {
    try NoteEdit(request(arguments), text: text, path: VaultPath(trusted: "n.md")).applied()
}

private func request(_ arguments: JSON) throws(VaultError) -> EditRequest {
    try EditRequest(
        ObsidianPlugin.EditInput(
            path: "n.md", action: arguments["action"]?.stringValue, find: arguments["find"]?.stringValue,
            content: arguments["content"]?.stringValue, heading: arguments["heading"]?.stringValue,
            block: arguments["block"]?.stringValue, lines: arguments["lines"], property: arguments["property"]?.stringValue,
            value: arguments["value"]))
}

private let garden = """
    ---
    # what grows
    tags: [a, b]
    ---
    # Garden

    intro

    ## Plan

    - spring
      - peas ^peas
        - early
    - autumn

    ```
    ## Plan
    ```

    ## Beds ##
    ### Plan
    digging ^dig

    | a | b |
    | - | - |
    | 1 | 2 |

    ^table

    Other
    =====
    end
    """

@Suite("An edit of a note")
struct EditingTests {
    @Test(
        "hits what it names and nothing else",
        arguments: [
            (["heading": "Garden#Plan", "content": "- winter"], "- autumn\n\n```\n## Plan\n```\n", "- autumn\n\n```\n## Plan\n```\n- winter\n"),
            (["heading": "## plan", "content": "- winter", "action": "prepend"], "## Plan\n\n- sp", "## Plan\n- winter\n\n- sp"),
            (["heading": "beds#plan", "content": "new", "action": "replace"],
             "digging ^dig\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n^table\n\nOther", "new\n\nOther"),
            (["heading": "Beds#Plan", "content": "### Work\nnew", "action": "replace"],
             "### Plan\ndigging ^dig\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n^table\n\nOther", "### Work\nnew\n\nOther"),
            (["heading": "Other", "action": "delete"], "Other\n=====\nend", ""),
            (["heading": "Other", "content": "last"], "end", "end\nlast"),
            (["heading": "Other", "content": "# New", "action": "insert_after"], "end", "end\n\n# New"),
            (["heading": "Beds", "content": "text", "action": "insert_before"], "## Beds ##", "text\n\n## Beds ##"),
            (["block": "peas", "content": "- beans", "action": "replace"], "  - peas ^peas\n    - early\n", "  - beans ^peas\n"),
            (["block": "^peas", "content": "  - beans ^peas\n    - late", "action": "replace"], "  - peas ^peas\n    - early\n", "  - beans ^peas\n    - late\n"),
            (["block": "peas", "content": "- late", "action": "append"], "    - early\n", "    - early\n    - late\n"),
            (["block": "peas", "content": "- beans", "action": "insert_after"], "    - early\n", "    - early\n  - beans\n"),
            (["block": "peas", "content": "- beans", "action": "insert_before"], "  - peas", "  - beans\n  - peas"),
            (["block": "PEAS", "action": "delete"], "  - peas ^peas\n    - early\n", ""),
            (["block": "dig", "content": "sowing", "action": "append"], "digging ^dig\n", "digging\nsowing ^dig\n"),
            (["block": "dig", "content": "sowing", "action": "replace"], "digging ^dig\n", "sowing ^dig\n"),
            (["block": "table", "content": "| 3 | 4 |", "action": "append"], "| 1 | 2 |\n", "| 1 | 2 |\n| 3 | 4 |\n"),
            (["block": "table", "action": "delete"], "| a | b |\n| - | - |\n| 1 | 2 |\n\n^table\n", ""),
            (["lines": "7", "content": "one\ntwo", "action": "replace"], "intro\n", "one\ntwo\n"),
            (["lines": [5, 7], "action": "delete"], "# Garden\n\nintro\n", ""),
            (["lines": 32, "content": "more", "action": "insert_after"], "end", "end\nmore"),
            (["find": "spring", "content": "summer"], "spring", "summer"),
            (["find": "Plan", "heading": "Beds#Plan", "content": "Work"], "### Plan", "### Work"),
            (["find": "intro\n\n## Plan", "content": "x"], "intro\n\n## Plan", "x"),
            (["find": "intro", "action": "delete"], "intro\n", ""),
            (["find": "tum", "content": "- winter", "action": "insert_after"], "- autumn\n", "- autumn\n- winter\n"),
            (["content": "last"], "=====\nend", "=====\nend\nlast"),
            (["content": "first", "action": "prepend"], "# Garden", "first\n# Garden"),
            (["property": "tags", "value": ["c"]], "tags: [a, b]", "tags: [c]"),
        ] as [(JSON, String, String)])
    func hits(arguments: JSON, old: String, new: String) throws {
        let parts = garden.ranges(of: old)
        try #require(parts.count == 1 || old.contains("Plan") || old == "intro\n", "\(old) is \(parts.count) times in the note")
        let expected = garden.replacing(old, with: new, maxReplacements: 1)
        #expect(try edit(garden, arguments) == expected)
        // A note of Windows stays one.
        let windows = garden.replacing("\n", with: "\r\n")
        #expect(try edit(windows, arguments) == expected.replacing("\n", with: "\r\n"))
    }

    @Test(
        "whose target is missing or not the only one is refused with what there is",
        arguments: [
            (["heading": "Plan", "content": "x"], "'Garden#Plan' (## Plan, line 9), 'Garden#Beds#Plan' (### Plan, line 21)"),
            (["heading": "Beets", "content": "x"], "did you mean 'Beds'?"),
            (["heading": "Garden/Beds", "content": "x"], "did you mean 'Garden#Beds'?"),
            (["heading": "what grows", "content": "x"], "has no heading"),
            (["heading": "### Beds", "content": "x"], "has no heading"),
            (["block": "pea", "content": "x", "action": "replace"], "did you mean '^peas'?"),
            (["lines": "30-99", "action": "delete"], "has 32 lines"),
            (["lines": "5-3", "action": "delete"], "are no lines"),
            (["find": "autunm", "content": "x"], "does not contain"),
            (["find": "- autunm", "content": "x"], "the nearest line is 14: '- autumn'"),
            (["find": "intro\n\n## Plans", "content": "x"], "line 7 is its line 1, but line 9 is '## Plan'"),
            (["find": "Plan", "content": "x"], "3 times, at the lines 9, 17, 21"),
            (["find": "peas", "heading": "Beds", "content": "x"], "this part of 'n.md' does not contain"),
            (["heading": "Beds", "block": "dig", "content": "x", "action": "replace"], "heading and block are given"),
            (["action": "delete"], "needs to know where"), (["action": "replace", "content": "x"], "needs to know where"),
            (["action": "append", "find": "intro", "content": "x"], "insert_after"),
            (["block": "dig", "content": "x"], "'action' is required"), (["action": "append"], "'content' is required"),
            (["action": "appendd", "content": "x"], "did you mean 'append'?"),
            (["action": "remove_property", "property": "tag"], "did you mean 'tags'?"),
            (["block": "table", "content": "x", "action": "prepend"], "which is table"),
        ] as [(JSON, String)])
    func refused(arguments: JSON, message: String) {
        let error = #expect(throws: VaultError.self) { try edit(garden, arguments) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test("what looks like a heading in code, comments and properties is none, and one in a quote does not divide the note")
    func noHeadings() throws {
        let text = "---\na: 1\n# X\n---\n# A\n```\n# X\n```\n<!--\n# X\n-->\n%%\n# X\n%%\n    # X\n\n> # Q\n> in\n\nend\n"
        for heading in ["X", "# X", "A#X"] {
            let error = #expect(throws: VaultError.self) { try edit(text, ["heading": .string(heading), "content": "y"]) }
            #expect(error?.code == .notFound)
        }
        #expect(try edit(text, ["heading": "A", "content": "y"]) == text + "y\n")
        let error = #expect(throws: VaultError.self) { try edit(text, ["heading": "Q", "content": "y"]) }
        #expect(error?.message.contains("in a quote") == true)
        #expect(try Section.find("Q", in: text, path: VaultPath(trusted: "n.md")) == "> # Q\n> in\n")
    }

    @Test("a heading's text may have what a link cannot write, and is compared without it")
    func headingTexts() throws {
        let text = "# A\n## C#\n1\n## Plan: [[x|y]]  and   more\n2\n## c\n3\n"
        #expect(try edit(text, ["heading": "C#", "content": "new", "action": "replace"]) == text.replacing("1", with: "new"))
        for heading in ["plan [[x y]] AND more", "A#Plan x y and more", "## Plan: [[x|y]] and more"] {
            #expect(try edit(text, ["heading": .string(heading), "content": "new", "action": "replace"]) == text.replacing("2", with: "new"))
        }
    }

    @Test("a list item is edited in what it is in")
    func quoted() throws {
        let text = "> - one\n>   more ^a\n> - two\n\n- x\n\t- y ^y\n\n\t  para of y\n\n  behind\n"
        #expect(try edit(text, ["block": "a", "content": "- 1\n  2", "action": "replace"]) == text.replacing("> - one\n>   more ^a", with: "> - 1\n>   2 ^a"))
        #expect(try edit(text, ["block": "a", "content": "- 1\n  - 2", "action": "replace"]) == text.replacing("> - one\n>   more ^a", with: "> - 1 ^a\n>   - 2"))
        #expect(try edit(text, ["block": "a", "content": "- b", "action": "append"]) == text.replacing("more ^a\n", with: "more ^a\n>   - b\n"))
        #expect(try edit(text, ["block": "a", "content": "- b", "action": "insert_after"]) == text.replacing("more ^a\n", with: "more ^a\n> - b\n"))
        #expect(try edit(text, ["block": "y", "action": "delete"]) == "> - one\n>   more ^a\n> - two\n\n- x\n\n  behind\n")
    }

    @Test("a text that is found is found whole, however its lines end and its letters are composed")
    func exactText() throws {
        #expect(try edit("a\r\nb\r\nc\r\n", ["find": "a\nb", "content": "x\ny"]) == "x\r\ny\r\nc\r\n")
        #expect(try edit("Cafe\u{301} is open", ["find": "Caf\u{E9}", "content": "Bar"]) == "Bar is open")
        for (text, find) in [("e\u{301}", "e"), ("👩‍👩‍👧", "👩"), ("👍🏽", "👍"), ("aaa", "aa"), ("a\nb", "b\n")] {
            #expect(throws: VaultError.self) { try edit(text, ["find": .string(find), "content": "x"]) }
        }
    }

    @Test("a byte order mark stays the first of a note, and a final line break stays missing")
    func marks() throws {
        let text = "\u{FEFF}# T\r\nx"
        #expect(try edit(text, ["property": "k", "value": "v"]) == "\u{FEFF}---\r\nk: v\r\n---\r\n# T\r\nx")
        #expect(try edit(text, ["content": "new", "action": "prepend"]) == "\u{FEFF}new\r\n# T\r\nx")
        #expect(try edit(text, ["heading": "T", "content": "y"]) == "\u{FEFF}# T\r\nx\r\ny")
        #expect(try edit("\u{FEFF}---\nk: v\n---\nx", ["property": "k", "action": "remove_property"]) == "\u{FEFF}---\n---\nx")
        #expect(try edit("", ["content": "x"]) == "x\n")
        #expect(try edit("\u{FEFF}", ["content": "x"]) == "\u{FEFF}x\n")
    }

    @Test("properties that cannot be read leave the rest of the note to edits")
    func unreadable() throws {
        let text = "---\na: [1\nb: }\n---\n# T\nx\n"
        for arguments: JSON in [["property": "a", "value": 2], ["property": "a", "action": "remove_property"]] {
            let error = #expect(throws: VaultError.self) { try edit(text, arguments) }
            #expect(error?.message.contains("not YAML") == true && error?.code == .failedPrecondition)
        }
        #expect(try edit(text, ["content": "y", "action": "prepend"]) == text.replacing("---\n# T", with: "---\ny\n# T"))
        #expect(try edit(text, ["heading": "T", "content": "y"]) == text + "y\n")
        #expect(try edit(text, ["find": "b: }", "content": "b: 1"]) == text.replacing("b: }", with: "b: 1"))
    }

    @Test("a property keeps its quotes, comments and form, and others keep all of theirs")
    func properties() throws {
        let text = """
            ---
            # top
            title:   "Old"   # kept
            'odd key': x # y
            list:
            - a
            # about the next
            flow: [a,
              b]
            text: |
              # no comment
              b: c

            nested:
              a: 1
            last: 'it''s'
            ---
            """
        func set(_ key: String, _ value: JSON) throws -> String { try edit(text, ["property": .string(key), "value": value]) }
        #expect(try set("title", "New: one") == text.replacing("title:   \"Old\"   # kept", with: "title: \"New: one\"   # kept"))
        #expect(try set("odd key", 3) == text.replacing("x # y", with: "3 # y"))
        #expect(try set("list", ["b", "c, d"]) == text.replacing("- a\n#", with: "- b\n- c, d\n#"))
        #expect(try set("flow", ["b", "c, d"]) == text.replacing("[a,\n  b]", with: "[b, \"c, d\"]"))
        #expect(try set("text", "x") == text.replacing("|\n  # no comment\n  b: c\n", with: "x\n"))
        #expect(try set("last", "isn't") == text.replacing("it''s", with: "isn''t"))
        #expect(try set("new", nil) == text.replacing("'it''s'\n", with: "'it''s'\nnew:\n"))
        #expect(try edit(text, ["property": "nested", "action": "remove_property"]) == text.replacing("nested:\n  a: 1\n", with: ""))
        // What cannot be changed alone is not changed.
        for hard in ["---\n{\"a\": 1, \"b\": 2}\n---\n", "---\na: &x 1\nb: *x\n---\n"] {
            #expect(throws: VaultError.self) { try edit(hard, ["property": "a", "value": 2]) }
        }
    }

    // MARK: Of any note

    /// A random note, and what its lines end with.
    private func randomNote(_ random: inout SeededGenerator) -> String {
        let pieces = [
            "# A", "## B", "### C", "## A", "# B ^h", "text", "more text ^p", "- item", "  - child ^c", "\t- tab", "1. one", "> quote",
            "> # Q", "```", "%%", "<!--", "-->", "", "", "", "| a |", "| - |", "^t", "Title", "===", "é🙂", "$$", "    code",
        ]
        let end = ["\n", "\r\n", "mixed"].randomElement(using: &random) ?? "\n"
        var text = Bool.random(using: &random) ? "" : "\u{FEFF}"
        if Bool.random(using: &random) { text += "---\nk: 1 # c\nlist:\n  - x\n---\n".replacing("\n", with: end == "mixed" ? "\r\n" : end) }
        for _ in 0..<Int.random(in: 0..<24, using: &random) {
            text += (pieces.randomElement(using: &random) ?? "") + (end == "mixed" ? (Bool.random(using: &random) ? "\n" : "\r\n") : end)
        }
        if Bool.random(using: &random) { text += "the end" }
        return text
    }

    @Test("changes no line outside of its target, whatever the note and its line ends", arguments: 0..<400 as Range<UInt64>)
    func changesNothingElse(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let text = randomNote(&random)
        let lines = TextLines(text)
        let note = NoteParser.parse(text)
        let outline = NoteOutline(lines, note)
        let end = Set(LineDifference.lines(of: text).map { $0.utf8.suffix(2).elementsEqual("\r\n".utf8) ? "\r\n" : $0.utf8.last == 10 ? "\n" : "" })
        let actions = ["replace", "append", "prepend", "insert_before", "insert_after", "delete"]
        for _ in 0..<20 {
            let action = actions.randomElement(using: &random) ?? ""
            var arguments: JSON = ["action": .string(action)]
            if action != "delete" { arguments["content"] = ["NEW", "- NEW\n- NEW2", "NEW\n\nNEW3\n", ""].randomElement(using: &random).map(JSON.string) }
            var target = 0..<lines.lines.count
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                guard let entry = outline.entries.randomElement(using: &random) else { continue }
                arguments["heading"] = .string(Bool.random(using: &random) ? entry.link : entry.marked)
                guard let found = try? outline.find(arguments["heading"]?.stringValue ?? "", path: VaultPath(trusted: "n.md")) else { continue }
                target = found.section
            case 1:
                guard let block = note.blocks.randomElement(using: &random),
                    let found = try? NamedBlock.find(block.id, in: lines, note, path: VaultPath(trusted: "n.md"))
                else { continue }
                arguments["block"] = .string(block.id)
                target = found.lines.lowerBound..<max(found.lines.upperBound, found.idLine + 1)
            case 2:
                let first = Int.random(in: 0..<lines.lines.count, using: &random)
                target = first..<Int.random(in: first..<lines.lines.count, using: &random) + 1
                arguments["lines"] = .string("\(target.lowerBound + 1)-\(target.upperBound)")
            default: break
            }
            guard let edited = try? edit(text, arguments) else { continue }
            func split(_ text: String) -> [Substring] { LineDifference.lines(of: text.hasPrefix("\u{FEFF}") ? String(text.dropFirst()) : text) }
            let before = split(text)
            let after = split(edited)
            let head = before.prefix(target.lowerBound)
            let tail = before.dropFirst(target.upperBound)
            let context: Comment = "seed \(seed): \(arguments) on \(text.debugDescription) made \(edited.debugDescription)"
            // The line before may get the line break that it did not have.
            let isAtEnd = tail.isEmpty
            #expect(after.count + (isAtEnd ? 1 : 0) >= head.count + tail.count, context)
            #expect(after.prefix(head.count).elementsEqual(head) { $0.utf8.elementsEqual($1.utf8) }, context)
            #expect(after.suffix(tail.count).elementsEqual(tail) { $0.utf8.elementsEqual($1.utf8) }, context)
            #expect(edited.hasPrefix("\u{FEFF}") == text.hasPrefix("\u{FEFF}"), context)
            if !text.isEmpty, text != "\u{FEFF}", end.count == 1 {
                // No other kind of line end comes in.
                let ends = Set(after.dropLast().map { $0.utf8.suffix(2).elementsEqual("\r\n".utf8) ? "\r\n" : "\n" })
                #expect(ends.isSubset(of: end.union(end == [""] ? ["\n"] : [])), context)
            }
        }
    }

    @Test("a path of headings finds what a plain reading of the note finds", arguments: 0..<300 as Range<UInt64>)
    func oracle(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        // Headings only, so that every one is one.
        let levels = (0..<Int.random(in: 1..<12, using: &random)).map { _ in Int.random(in: 1...4, using: &random) }
        let names = levels.map { _ in ["A", "B", "C", "A b"].randomElement(using: &random) ?? "" }
        let text = zip(levels, names).map { String(repeating: "#", count: $0) + " " + $1 + "\nx\n" }.joined()
        let outline = NoteOutline(TextLines(text), NoteParser.parse(text))
        for _ in 0..<20 {
            let wanted = (0..<Int.random(in: 1...3, using: &random)).map { _ in ["a", "B", "c", "a  B"].randomElement(using: &random) ?? "" }
            func same(_ left: String, _ right: String) -> Bool {
                left.lowercased().split(separator: " ") == right.lowercased().split(separator: " ")
            }
            // Every heading with those above it, read backwards from it.
            let found = levels.indices.filter { place in
                guard let own = wanted.last, same(names[place], own) else { return false }
                var chain: [String] = []
                var level = levels[place]
                for above in levels[..<place].indices.reversed() where levels[above] < level {
                    chain.insert(names[above], at: 0)
                    level = levels[above]
                }
                var rest = wanted.dropLast()
                for name in chain { if let first = rest.first, same(name, first) { rest = rest.dropFirst() } }
                return rest.isEmpty
            }
            let answer = try? outline.find(wanted.joined(separator: "#"), path: VaultPath(trusted: "n.md"))
            let context: Comment = "seed \(seed): \(wanted) in \(text.debugDescription)"
            switch found.count {
            case 0: #expect(answer == nil, context)
            case 1: #expect(answer?.lines.lowerBound == found[0] * 2, context)
            default:
                // One whose whole path it is may be meant; a plain name is nobody's.
                if wanted.count == 1 { #expect(answer == nil, context) }
                else if let answer { #expect(answer.path.count == wanted.count && found.contains(answer.lines.lowerBound / 2), context) }
            }
        }
    }
}
