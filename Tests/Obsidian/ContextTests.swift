import TestSupport
import Testing

@testable import Obsidian

@Suite("A context")
struct ContextTests {
    private func build(
        _ notes: [String: String], from start: String, depth: Int = 1, backlinks: Bool = false, budget: Int = 100_000
    ) throws -> ContextBuilder {
        let resolver = LinkResolver(paths: notes.keys.sorted())
        var builder = ContextBuilder(
            depth: depth, hasBacklinks: backlinks, read: { notes[$0] }, size: { notes[$0]?.utf8.count },
            resolve: { resolver.resolve($0, from: $1) },
            backlinks: { path in
                notes.keys.sorted().filter { source in
                    NoteParser.parse(notes[source]!).links.contains {
                        resolver.resolve($0.target, from: source) == path
                    }
                }
            })
        try builder.build(from: start, budget: budget)
        return builder
    }

    private func shown(_ builder: ContextBuilder) -> [String] {
        builder.parts.map { "\($0.distance) \($0.path)\($0.subpath ?? "")" }
    }

    @Test("has the nearest first, each once, in the order of the links")
    func order() throws {
        let notes = [
            "A.md": "---\nup: \"[[F]]\"\n---\n[[C]] [[B]] [[A]] [[None]] ![[x.png]]", "B.md": "[[D]] [[C]]",
            "C.md": "[[E]]", "D.md": "[[G]]", "E.md": "", "F.md": "",
            "G.md": "", "x.png": "", "Z.md": "[[A]]",
        ]
        #expect(try shown(build(notes, from: "A.md")) == ["0 A.md", "1 F.md", "1 C.md", "1 B.md"])
        #expect(
            try shown(build(notes, from: "A.md", depth: 2)) == [
                "0 A.md", "1 F.md", "1 C.md", "1 B.md", "2 E.md", "2 D.md",
            ])
        #expect(try shown(build(notes, from: "A.md", depth: 0)) == ["0 A.md"])
        #expect(try shown(build(notes, from: "A.md", backlinks: true)).last == "1 Z.md")
    }

    @Test("has only the linked section or block, and goes on with the links in it")
    func sections() throws {
        let notes = [
            "A.md": "[[B#Two]] [[B#One#Deep]] [[C#^para]] [[D#No such]]",
            "B.md": "[[X]]\n# One\none\n## Deep\ndeep [[Y]]\n# Two\ntwo\n## Under two\nunder\n# Three\nthree\n",
            "C.md": "first\n\nthe paragraph ^para\n\nlast\n",
            "D.md": "whole", "X.md": "", "Y.md": "why",
        ]
        let built = try build(notes, from: "A.md", depth: 2)
        #expect(shown(built) == ["0 A.md", "1 B.md#Two", "1 B.md#One#Deep", "1 C.md#^para", "1 D.md", "2 Y.md"])
        #expect(
            built.parts.map(\.text)[1...3] == [
                "# Two\ntwo\n## Under two\nunder\n", "## Deep\ndeep [[Y]]\n", "the paragraph ^para",
            ])
        #expect(built.parts.map(\.line)[1...3] == [6, 4, 3])
        // Who links to the whole too wants the whole, and a part within another is there once.
        #expect(
            try shown(build(["A.md": "[[B#Two]] [[B]]", "B.md": notes["B.md"]!], from: "A.md")) == ["0 A.md", "1 B.md"])
        #expect(
            try shown(build(["A.md": "[[B#Deep]] [[B#One]]", "B.md": notes["B.md"]!], from: "A.md")) == [
                "0 A.md", "1 B.md#One",
            ])
    }

    @Test("cuts a long note before a heading or a paragraph and says where, and tells what did not fit")
    func cuts() throws {
        let section =
            "# H\n" + String(repeating: "word ", count: 60) + "\n\n" + String(repeating: "text ", count: 60) + "\n"
        let notes = [
            "A.md": "[[B]] [[C]] [[D]]\n" + String(repeating: section, count: 20),
            "B.md": String(repeating: "b", count: 900), "C.md": String(repeating: section, count: 10), "D.md": "short",
        ]
        let built = try build(notes, from: "A.md", budget: 6000)
        let first = built.parts[0]
        #expect(first.text.utf8.count <= 3000 && first.text.utf8.count > 1500)
        let rest = notes["A.md"]!.dropFirst(first.text.count)
        #expect(rest.hasPrefix("# H") && first.cut_at == 1 + first.text.count { $0 == "\n" })
        #expect(
            shown(built) == ["0 A.md", "1 B.md", "1 C.md", "1 D.md"] && built.parts[2].cut_at != nil
                && built.parts[3].text == "short")
        let small = try build(notes, from: "A.md", budget: 1500)
        #expect(
            small.leftOut.map(\.path) == ["B.md", "C.md"]
                && small.leftOut.map(\.size) == [900, notes["C.md"]!.utf8.count])
        #expect(small.parts.map(\.path) == ["A.md", "D.md"])
    }

    @Test(
        "never grows over its budget, has every part whole and in order, and is the same each time",
        arguments: 1...30 as ClosedRange<UInt64>)
    func properties(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var notes: [String: String] = [:]
        for number in 0..<30 {
            var text = ""
            for _ in 0..<random.next() % 12 {
                switch random.next() % 4 {
                case 0: text += "# Heading \(random.next() % 3)\n"
                case 1:
                    text +=
                        "see [[N\(random.next() % 32)\(random.next() % 4 == 0 ? "#Heading \(random.next() % 3)" : "")]]\n"
                default: text += String(repeating: "wörter ", count: Int(random.next() % 100)) + "\n\n"
                }
            }
            notes["N\(number).md"] = text
        }
        let budget = Int(500 + random.next() % 20_000)
        let depth = Int(random.next() % 4)
        let built = try build(notes, from: "N0.md", depth: depth, backlinks: seed % 2 == 0, budget: budget)
        #expect(built.parts.reduce(0) { $0 + $1.text.utf8.count } <= budget, "seed \(seed)")
        #expect(
            built.parts.map(\.distance) == built.parts.map(\.distance).sorted()
                && built.parts.allSatisfy { $0.distance <= depth })
        for part in built.parts {
            #expect(part.text.isEmpty || notes[part.path]!.contains(part.text), "seed \(seed), \(part.path)")
        }
        let whole = built.parts.filter { $0.subpath == nil }
        #expect(Set(whole.map(\.path)).count == whole.count)
        for part in whole where part.cut_at == nil { #expect(part.text == notes[part.path]!) }
        let again = try build(notes, from: "N0.md", depth: depth, backlinks: seed % 2 == 0, budget: budget)
        #expect(again.parts == built.parts && again.leftOut == built.leftOut)
        // Nothing that is near enough is missing without a word.
        let all = try build(notes, from: "N0.md", depth: depth, backlinks: seed % 2 == 0, budget: 10_000_000)
        #expect(all.leftOut.isEmpty)
        if depth == 1 {
            let told = Set(built.parts.map(\.path)).union(built.leftOut.map(\.path))
            if built.parts.allSatisfy({ $0.cut_at == nil }) {
                #expect(told == Set(all.parts.map(\.path)), "seed \(seed)")
            }
        }
    }
}

@Suite("The marks of a search")
struct SearchMarkTests {
    @Test(
        "are where in a line the query's words, phrases and patterns are",
        arguments: [
            ("apple", "An Apple and äpple", ["Apple", "äpple"]), ("red -green", "red green", ["red"]),
            ("\"red apple\"", "a red apple tree", ["red apple"]),
            ("app apple", "apple", ["apple"]), ("match-case:Red", "red Red", ["Red"]),
            (#"/\d{4}-\d{2}/"#, "on 2024-05-01.", ["2024-05"]),
            ("/a+/", "caaat", ["aaa"]), ("/^a/", "a a", ["a"]), ("line:(x OR y)", "x y z", ["x", "y"]),
            ("file:red", "red", []), ("path:red apple", "red apple", ["apple"]),
            ("[status:open]", "status: open", ["status", "open"]), ("東京", "私は東京に", ["東京"]), ("/é./", "aéé", ["éé"]),
        ] as [(String, String, [String])])
    func places(query: String, line: String, expected: [String]) throws {
        let bytes = Array(line.utf8)
        #expect(
            try SearchMarks(try SearchQuery(query)).places(in: line).map { String(decoding: bytes[$0], as: UTF8.self) }
                == expected)
    }
}
