import Glibc
import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

@Suite("A search")
struct SearchTests {
    let folder: TemporaryFolder
    let index: NoteIndex

    private static let notes = [
        "One.md": "A red apple. #fruit/red\nThe tree is old.\n\n```\ncode about plums\n\nmore code\n```\n",
        "Two.md": """
        ---
        status: open
        tags: [fruit]
        rank: 3
        aliases:
          - Second
        ---
        # Pears
        An apple and a pear.
        - [ ] call the gardener
          about pears
        - [x] water the tree
        - [-] mow
        """,
        "sub/Three.md":
            "---\nstatus: closed\nrank: 10\nempty:\n\"a b\": [x, open door]\n---\nA plum.\nRED things, Café Zürich\n\n"
            + "## Trees\napple\n\npear\n## End\nplum 2024-05-01\n",
        "sub/Ärger 7.md": "私は東京に住んでいます。\nsay \"hi\" (x-y) C++ [[A note]] apple-pie\n1. [ ] one\n   - [X] two\n",
    ]

    init() throws {
        folder = try TemporaryFolder()
        index = try NoteIndex(path: folder.path + "/index.sqlite")
        try index.put(Self.notes.map { Self.note($0, $1) })
    }

    private static func note(_ path: String, _ text: String) -> IndexedNote {
        let stamp = VaultFiles.Stamp(size: Int64(text.utf8.count), modifiedNs: 0, inode: 0)
        return IndexedNote(path: path, version: "1", stamp: stamp, text: text, parsed: NoteParser.parse(text))
    }

    private func found(_ query: SearchQuery) throws -> Set<String> {
        let (hits, total) = try index.search(query, folder: nil, limit: 100, offset: 0)
        let paths = hits.map(\.summary.path)
        #expect(total == paths.count && Set(paths).count == paths.count, "\(query)")
        return Set(paths.map { String($0.dropLast(3).split(separator: "/").last ?? "") })
    }

    @Test(
        "finds the notes that Obsidian's language means",
        arguments: [
            // Words and phrases: also within words, without regard to case and diacritics.
            ("apple", "One Two Three Ärger"), ("pple", "One Two Three Ärger"), ("APPLE pear", "Two Three"),
            ("apple -pear", "One Ärger"), ("cafe zurich", "Three"), ("京", "Ärger"),
            ("pear OR 東京", "Two Three Ärger"), ("apple (tree OR plum) -closed", "One Two"), ("-(apple tree)", "Ärger"),
            ("-apple", ""), ("zzz OR -pear", "One Ärger"),
            ("\"red apple\"", "One"), ("\"apple red\"", ""), ("\"ed app\"", "One"), (#""say \"hi\"""#, "Ärger"),
            ("(x-y)", "Ärger"), ("C++", "Ärger"), ("++", "Ärger"), ("[[A note]]", "Ärger"), ("apple-", "Ärger"),
            ("two", "Two Ärger"),
            ("#fruit", "One"), ("foo:bar", ""), ("ärger", "Ärger"),
            // Files and text.
            ("file:one", "One"), ("file:.md", "One Two Three Ärger"), ("path:sub", "Three Ärger"),
            ("path:\"sub/t\"", "Three"), ("file:sub", ""), ("file:arger", "Ärger"), ("-path:sub", "One Two"),
            ("path:(sub -three)", "Ärger"),
            ("content:two", "Ärger"), ("content:(pear tree)", "Two Three"), ("file:(o OR 7)", "One Two Ärger"),
            // Tags, with those of the properties and nested ones.
            ("tag:fruit", "One Two"), ("tag:#fruit/red", "One"), ("tag:fru", ""), ("tag:(fruit -fruit/red)", "Two"),
            ("tag:/re.$/", "One"), ("-tag:fruit", "Three Ärger"), ("line:(tag:fruit apple)", "One"),
            // Parts.
            ("line:(apple pear)", "Two"), ("line:(apple -pear)", "One Three Ärger"), ("block:(apple tree)", "One"),
            ("block:(water call)", ""), ("block:(gardener pears)", "Two"), ("block:(plums more)", "One"),
            ("section:(apple pear)", "Two Three"), ("section:(apple 2024)", ""), ("section:(trees pear)", "Three"),
            ("section:(line:apple block:pear)", "Two Three"),
            ("task:(call OR mow)", "Two"), ("task:water", "Two"), ("task:apple", ""), ("task-todo:call", "Two"),
            ("task-todo:pears", "Two"), ("task-todo:water", ""), ("task-done:water", "Two"), ("task-done:mow", "Two"),
            ("task-done:two", "Ärger"), ("task-todo:two", ""), ("task:/./", "Two Ärger"),
            // Case.
            ("match-case:RED", "Three"), ("match-case:red", "One"), ("match-case:(RED ignore-case:PLUM)", "Three"),
            ("match-case:Cafe", ""), ("match-case:Café", "Three"), ("match-case:path:Sub", ""),
            ("match-case:path:sub", "Three Ärger"), ("-match-case:A", ""), ("match-case:/RED/", "Three"),
            ("match-case:content:-Red", "One Two Three Ärger"), ("match-case:path:-Sub", "One Two Three Ärger"),
            ("match-case:[Status]", ""), ("match-case:tag:Fruit", ""), ("line:-match-case:RED", "One Two Three Ärger"),
            // Properties.
            ("[status]", "Two Three"), ("[STATUS:Open]", "Two"), ("[status:open OR closed]", "Two Three"),
            ("[status:pen]", "Two"), ("[status:\"pen\"]", ""), ("[status:-open]", "Three"),
            ("-[status:open]", "One Three Ärger"), ("[status:/^clo/]", "Three"),
            ("[rank:>3]", "Three"), ("[rank:<4]", "Two"), ("[rank:>2 <9]", "Two"), ("[rank:3]", "Two"),
            ("[empty:null]", "Three"), ("[status:null]", ""), ("[\"a b\":door]", "Three"),
            ("[\"a b\":\"open door\"]", "Three"), ("[/^ra/]", "Two Three"), ("[status OR empty]", "Two Three"),
            ("[aliases:second]", "Two"), ("[status:match-case:OPEN]", ""), ("[stat]", ""),
            // Regular expressions.
            (#"/\d{4}-\d{2}-\d{2}/"#, "Three"), ("/^the tree/", "One"), ("/apple[.-]/", "One Ärger"),
            ("line:(/^a/ apple)", "One Two Three"), (#"path:/\d/"#, "Ärger"), ("-/apple/", ""), ("content:/three/", ""),
            ("/^three$/", "Three"),
        ])
    func finds(query: String, expected: String) throws {
        #expect(
            try found(SearchQuery(query))
                == Set(expected.split(separator: " ").map(String.init).map { $0 == "Ärger" ? "Ärger 7" : $0 }))
    }

    @Test(
        "shows the lines with what was looked for",
        arguments: [
            ("apple", "Two.md", [9]), ("apple call", "Two.md", [9, 10]), ("\"red apple\" tree", "One.md", [1, 2]),
            ("content:pear", "sub/Three.md", [13]), ("tag:fruit", "Two.md", [3]), ("tag:fruit", "One.md", [1]),
            ("line:(apple -pear)", "sub/Three.md", [11]), ("block:(more plums)", "One.md", [5, 7]),
            ("block:-zzz", "One.md", [1, 4]), ("section:(trees pear)", "sub/Three.md", [10, 13]),
            ("task:mow", "Two.md", [13]),
            ("task-todo:pears", "Two.md", [11]), ("task-done:(tree OR mow)", "Two.md", [12, 13]),
            ("match-case:RED", "sub/Three.md", [8]), ("[status:open]", "Two.md", [2]),
            ("[\"a b\":door]", "sub/Three.md", [5]),
            (#"/\d{4}-\d\d/"#, "sub/Three.md", [15]), ("file:one", "One.md", []),
            ("path:sub -apple OR plum", "sub/Three.md", [7, 15]), ("cafe", "sub/Three.md", [8]),
            ("pple", "One.md", [1]),
        ])
    func shows(query: String, path: String, lines: [Int]) throws {
        let query = try SearchQuery(query)
        let hit = try #require(
            try index.search(query, folder: nil, limit: 100, offset: 0).hits.first { $0.summary.path == path })
        #expect(try Snippets(query).lines(of: hit).map(\.line) == lines)
    }

    /// How many notes have their grams in the index.
    enum Grams: CaseIterable { case none, some, all, allAndMore }

    @Test(
        "the index and the texts tell the same, and negation, AND and OR are those of sets",
        arguments: 1...8 as ClosedRange<UInt64>, Grams.allCases)
    func agreement(seed: UInt64, grams: Grams) throws {
        var random = SeededGenerator(seed: seed)
        var notes = Self.notes
        for number in 0..<30 {
            let lines = (0..<1 + random.next() % 8).map { _ -> String in
                let start = RandomQuery.pick(
                    ["", "", "", "# ", "- ", "- [ ] ", "- [x] ", "#fruit ", "> ", "```\n", "\n"], &random)
                return start
                    + (0..<random.next() % 5).map { _ in RandomQuery.pick(RandomQuery.words, &random) }.joined(
                        separator: RandomQuery.pick([" ", "", "-"], &random))
            }
            let status = RandomQuery.pick(["open", "", "[open, 3]"], &random)
            let rank = Int(random.next() % 9) - 4
            let front = random.next() % 2 == 0 ? "---\nstatus: \(status)\nrank: \(rank)\n---\n" : ""
            let folder = RandomQuery.pick(["", "sub/", "One/"], &random)
            let name = RandomQuery.pick(RandomQuery.words, &random)
            notes["\(folder)\(name) \(number).md"] = front + lines.joined(separator: "\n")
        }
        try index.put(notes.map { Self.note($0, $1) })
        switch grams {
        case .none: break
        case .some: _ = try index.addGrams(most: 15)
        case .all: while try index.addGrams() {}
        case .allAndMore:
            while try index.addGrams() {}
            // Notes that change are without grams again, and the old ones must not be found by them.
            for (path, text) in notes where random.next() % 2 == 0 { notes[path] = String(text.reversed()) }
            try index.put(notes.map { Self.note($0, $1) })
        }
        let everything = try found(.not(.word("nothing of this kind")))
        #expect(everything.count == notes.count)
        let texts = notes.map { path, text in
            let properties = NoteParser.parse(text).frontMatter?.properties ?? [:]
            return (
                VaultPath(trusted: path).title,
                NoteText(path: path, properties: JSON.object(properties).serialized(), text: text)
            )
        }
        for _ in 0..<60 {
            let (left, right) = (RandomQuery.tree(&random, depth: 3), RandomQuery.tree(&random, depth: 3))
            let (ofLeft, ofRight) = (try found(left), try found(right))
            let evaluator = QueryEvaluator(left)
            #expect(try ofLeft == Set(texts.filter { try evaluator.matches($0.1) }.map(\.0)), "seed \(seed): \(left)")
            #expect(try found(.not(left)) == everything.subtracting(ofLeft), "seed \(seed): \(left)")
            #expect(
                try found(.all([left, right])) == ofLeft.intersection(ofRight), "seed \(seed): \(left) AND \(right)")
            #expect(try found(.any([left, right])) == ofLeft.union(ofRight), "seed \(seed): \(left) OR \(right)")
            for (_, note) in texts { _ = try evaluator.places(in: note, most: 3) }
        }
    }

    @Test("pages are parts of one order, best first: the title before the text, beginnings of words before other parts")
    func order() throws {
        try index.put([
            Self.note("a.md", "the quagga"), Self.note("quagga.md", "x"), Self.note("b.md", "protoquagga"),
            Self.note("c.md", "# Quagga\nmany words in a text of some length"),
        ])
        let whole = try index.search(SearchQuery("quagga"), folder: nil, limit: 10, offset: 0).hits.map(\.summary.path)
        #expect(whole == ["quagga.md", "a.md", "c.md", "b.md"] || whole == ["quagga.md", "c.md", "a.md", "b.md"])
        for limit in 1...3 {
            let pages = try stride(from: 0, to: 6, by: limit).flatMap { offset in
                let (hits, total) = try index.search(SearchQuery("quagga"), folder: nil, limit: limit, offset: offset)
                #expect(total == 4)
                return hits.map(\.summary.path)
            }
            #expect(pages == whole)
        }
        #expect(try index.search(SearchQuery("quagga"), folder: nil, limit: 10, offset: .max).hits.isEmpty)
    }

    @Test(
        "parts of words and Eastern text are found before, while and after their grams are made, and answers say it",
        arguments: [
            ("京", "Ärger"), ("東京", "Ärger"), ("住んで", "Ärger"), ("東京に住ん", "Ärger"), ("東住", ""), ("京 apple", "Ärger"),
            ("\"に住\"", "Ärger"), ("-東", "One Two Three"), ("content:東京", "Ärger"), ("line:(東京 います)", "Ärger"), ("C++", "Ärger"),
            ("\"(x-y) \"", "Ärger"), ("++", "Ärger"), ("\"d app\"", "One"), ("\"An apple\"", "Two"), ("match-case:\"an a\"", ""),
        ])
    func grams(query: String, expected: String) throws {
        let query = try SearchQuery(query)
        let expected = Set(expected.split(separator: " ").map { $0 == "Ärger" ? "Ärger 7" : String($0) })
        func lacking() throws -> Int? {
            var percent: Int?
            _ = try index.search(query, folder: nil, limit: 1, offset: 0, lacking: { percent = $0 })
            return percent
        }
        #expect(try found(query) == expected)
        #expect(try lacking() == 0)
        #expect(try index.addGrams(most: 2) == true)
        #expect(try found(query) == expected)
        #expect(try lacking() == 50 && index.gramPercent() == 50)
        #expect(try index.addGrams(most: 2) == false)
        #expect(try found(query) == expected)
        #expect(try lacking() == nil && index.gramPercent() == 100)
    }

    @Test("grams of notes that are gone are thrown away when they are the most")
    func staleGrams() throws {
        while try index.addGrams() {}
        for round in 0..<6 {
            try index.put((0..<300).map { Self.note("n\($0).md", "round\(round)x") })
            while try index.addGrams() {}
        }
        // 4 notes stayed, and of 300 each of six rounds was added.
        #expect(try index.read(NoteIndex.GramState.init).added < 1804)
        #expect(try index.search(SearchQuery("und5x"), folder: nil, limit: 1, offset: 0).total == 300)
        #expect(try index.search(SearchQuery("und4x"), folder: nil, limit: 1, offset: 0).total == 0)
    }

    @Test("words are found again after a restart, and a search is ended from outside")
    func restartAndEnd() throws {
        let again = try NoteIndex(path: folder.path + "/index.sqlite")
        #expect(
            try again.search(SearchQuery("rdene"), folder: nil, limit: 10, offset: 0).hits.map(\.summary.path) == [
                "Two.md"
            ])
        struct Enough: Error {}
        for query in ["/x/", "line:apple", "match-case:A"] {
            #expect(throws: Enough.self) {
                try again.search(SearchQuery(query), folder: nil, limit: 1, offset: 0) { throw Enough() }
            }
        }
    }

    @Test("whatever can be read as a query can be run, however large", arguments: 1...4 as ClosedRange<UInt64>)
    func anyQuery(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var queries = (0..<300).map { _ in RandomQuery.text(&random) }
        let many = (0..<100).map { "w\($0)" }
        queries += [
            many.joined(separator: " "), many.joined(separator: " OR "), "-" + many.joined(separator: " -"),
            "path:" + many.joined(separator: " OR path:"),
            "-tag:" + many.joined(separator: " -tag:"),
            String(repeating: "-(a OR ", count: 7) + "b" + String(repeating: ")", count: 7),
            String(repeating: "line:(-path:", count: 5) + "b" + String(repeating: ")", count: 5),
            "a\" OR 1=1 --\"", "NEAR(a b)", "a*", "body:x", "%_'", "\"*\"", "e\u{301} \u{301}",
        ]
        for text in queries {
            guard let query = try? SearchQuery(text) else { continue }
            #expect(throws: Never.self, "seed \(seed): \(text)") { try found(query) }
        }
    }

    @Test("every scalar is folded as the tokenizer folds it")
    func folding() throws {
        for (text, folded) in [
            ("ÀÉîõü Ñ", "aeiou n"), ("Straße", "straße"), ("ΑΒΓ ДЖ", "αβγ дж"), ("e\u{301}", "e"), ("ＡＢ", "ａｂ"),
            ("a—b", "a—b"), ("İ", "i"),
        ] {
            #expect(Folding.text(text) == folded)
        }
    }
}
