import Glibc
import TestSupport
import Testing

@testable import Obsidian

@Suite("An unlinked mention")
struct MentionTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func found(_ names: [String], _ text: String) -> [String] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { Array($0.utf8) }
        return MentionFinder(names: names.compactMap(MentionFinder.Name.init)).mentions(in: text).map { mention in
            "\(mention.line + 1):" + String(decoding: lines[mention.line][mention.place], as: UTF8.self)
        }
    }

    @Test(
        "is a whole word of the text, in any case, with or without accents",
        arguments: [
            ("Beans", "Beans, beans and BEANS", ["1:Beans", "1:beans", "1:BEANS"]),
            ("Beans", "runnerbeans beansprout beans2", []),
            ("Beans", "_Beans_ my_beans_x __beans__", ["1:Beans", "1:beans"]),
            ("Beans", "(beans) “beans” beans’ *beans*", ["1:beans", "1:beans", "1:beans", "1:beans"]),
            ("Café", "cafe\nthe CAFÉ\ncafe\u{301}s cafe\u{301}!", ["1:cafe", "2:CAFÉ", "3:cafe\u{301}"]),
            ("Ärger", "arger Ärger", ["1:arger", "1:Ärger"]),
            ("Green Beans", "green beans, green  beans, green\nbeans", ["1:green beans"]),
            ("C++", "C++ and C++11, c++.", ["1:C++", "1:C++", "1:c++"]),
            ("東京", "私は東京に住んでいます", ["1:東京"]), ("2024-05-01", "on 2024-05-01.", ["1:2024-05-01"]),
            ("Straße", "die STRASSE, die Straße", ["1:Straße"]), ("Beans", "😀beans😀", ["1:beans"]),
        ] as [(String, String, [String])])
    func words(name: String, text: String, expected: [String]) { #expect(found([name], text) == expected) }

    @Test(
        "is none in a link, in code, in math, in HTML, in an address, in a tag or in the properties",
        arguments: [
            "[[Beans]]", "![[Beans]]", "[[Beans|the beans]]", "[[Other|beans]]", "[beans](Beans.md)",
            "[the beans](https://x.org/beans)",
            "![beans](https://x.org/a.png)", "[beans][1]", "[beans]: https://x.org", "https://x.org/beans",
            "http://beans.org", "www.beans.org",
            "<https://beans.org/beans>", "`beans`", "`` a ` beans ``", "$beans$", "$$beans$$", "<!-- beans -->",
            "<!-- x\nbeans -->",
            "<a title=\"beans\">", "#beans", "#food/beans", "```\nbeans\n```", "~~~\nbeans\n~~~", "text\n\n    beans",
            "$$\nbeans\n$$",
            "---\ntitle: beans\naliases: [beans]\n---", "<div>\nbeans\n</div>", "[^beans]", "\\[[Beans]]",
        ])
    func hidden(text: String) {
        #expect(found(["Beans"], text) == [])
        // What stands beside it is seen.
        let line = text.split(separator: "\n", omittingEmptySubsequences: false).count + 2
        #expect(found(["Beans"], text + "\n\nsome beans\n") == ["\(line):beans"])
    }

    @Test(
        "is one in every kind of text",
        arguments: [
            "# Beans", "- beans", "- [ ] beans", "> beans", "> [!note] beans", "| a | beans |\n| - | - |\n| x | y |",
            "**beans**", "==beans==",
            "%%beans%%", "<b>beans</b>", "[^1]: beans", "a [bracket] beans", "a $ beans $ b", "costs $5, beans $ 6",
            "[beans]", "a `code` beans `b`",
        ])
    func seen(text: String) { #expect(found(["Beans"], text).map { $0.lowercased() } == ["1:beans"]) }

    @Test("is of the longest name where several begin together, and counted once")
    func overlaps() {
        #expect(
            found(["Green", "Green Beans", "Beans"], "green beans and beans, green") == [
                "1:green beans", "1:beans", "1:green",
            ])
    }

    @Test("is found where it was put, whatever is around it", arguments: 1...20 as ClosedRange<UInt64>)
    func placed(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let plain = ["the beans grow", "Beans!", "(BEANS)", "see beans, they say", "é beans é"]
        let none = [
            "[[Beans]] and [[Beans|x]]", "`beans` here", "beanstalk", "[x](https://beans.org/beans)", "#beans",
            "nothing", "", "$beans$ math",
            "<!-- beans -->", "https://a.org/?q=beans&x", "```\nbeans\n```", "[a beans b](Beans.md)",
            "\\#tag and `` ` beans ``",
        ]
        var text = random.next() % 2 == 0 ? "---\nx: beans\n---\n" : ""
        var expected: [Int] = []
        for _ in 0..<200 {
            let isPlain = random.next() % 3 == 0
            let line = (isPlain ? plain : none)[Int(random.next() % UInt64((isPlain ? plain : none).count))]
            if isPlain { expected.append(text.count { $0 == "\n" }) }
            text += line + (random.next() % 2 == 0 ? "\n\n" : "\n")
        }
        #expect(
            MentionFinder(names: [MentionFinder.Name("Beans")!]).mentions(in: text).map(\.line) == expected,
            "seed \(seed)")
    }

    @Test(
        "no note of a real vault is left out of the candidates", .enabled(if: TestData.isThere),
        arguments: ["docs", "Tasks-Demo"])
    func candidates(vault name: String) throws {
        try folder.run("cp", "-r", try TestData.vault(name), folder.path + "/vault")
        try folder.run("chmod", "-R", "u+w", folder.path + "/vault")
        let vault = try Vault(
            root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite",
            journalPath: folder.path + "/history.sqlite")
        try vault.synchronize { false }
        let graph = try vault.linkGraph()
        var texts: [String: String] = [:]
        for path in vault.paths.sorted() where VaultPath(trusted: path).isNote {
            texts[path] = try vault.readText(VaultPath(trusted: path)).text
        }
        var total = 0
        var outward: [String: Set<String>] = [:]
        for (path, text) in texts {
            let (names, nodes) = try KnownNames(text).names(of: graph, except: path, resolver: vault.resolver) {}
            for (name, nodes) in zip(names, nodes) where !MentionFinder(names: [name]).mentions(in: text).isEmpty {
                for node in nodes { outward[graph.path(node), default: []].insert(path) }
            }
        }
        for node in graph.sorted(graph.all) where graph.kind(node) == .note {
            let path = graph.path(node)
            let names = ([VaultPath(trusted: path).title] + (graph.aliases[node] ?? [])).compactMap(
                MentionFinder.Name.init)
            let finder = MentionFinder(names: names)
            let expected = texts.keys.sorted().filter { $0 != path && !finder.mentions(in: texts[$0]!).isEmpty }
            let candidates = try vault.index.notesNaming(names.map(\.text)).filter {
                $0 != path && !finder.mentions(in: texts[$0]!).isEmpty
            }
            #expect(candidates == expected, "\(path)")
            // The other way round finds the same, but for titles that several notes have.
            let isAlone =
                graph.all.count {
                    folded(VaultPath(trusted: graph.path($0)).title) == folded(VaultPath(trusted: path).title)
                } == 1
            if isAlone {
                #expect((outward[path] ?? []).sorted() == expected.filter { _ in names[0].folded.count > 1 }, "\(path)")
            }
            total += expected.count
        }
        #expect(total > 20)
    }
}

@Suite("A marked line")
struct MarkedLineTests {
    private func marked(_ line: String, _ places: [Range<Int>]) -> [String] {
        let marked = MarkedLine(Array(line.utf8)[...], places: places)
        let scalars = Array(marked.text.unicodeScalars)
        return marked.marks.map { mark in String(String.UnicodeScalarView(scalars[mark[0]..<mark[1]])) }
    }

    @Test("marks what was found, also behind blanks, accents and emoji, and where a long line is cut")
    func marks() {
        #expect(marked("  é😀 beans here  ", [9..<14]) == ["beans"])
        let long = String(repeating: "é", count: 300) + "beans" + String(repeating: "x", count: 300)
        let line = MarkedLine(Array(long.utf8)[...], places: [600..<605])
        #expect(line.text.hasPrefix("…é") && line.text.hasSuffix("x…") && line.text.unicodeScalars.count == 202)
        #expect(marked(long, [600..<605]) == ["beans"])
        #expect(marked("beans", [0..<5]) == ["beans"])
        #expect(marked(String(repeating: "a", count: 500) + " z", [501..<502]) == ["z"])
    }
}
