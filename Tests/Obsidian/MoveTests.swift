import Glibc
import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

/// A vault in a folder of its own.
struct ScratchVault {
    let folder: TemporaryFolder
    let vault: Vault

    init(_ files: [String: String], settings: String? = nil) throws {
        folder = try TemporaryFolder()
        mkdir(folder.path + "/vault", 0o755)
        vault = try Vault(
            root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite",
            journalPath: folder.path + "/history.sqlite")
        for (path, text) in files { try write(path, text) }
        if let settings { try write(".obsidian/app.json", settings) }
        try vault.synchronize { false }
    }

    func write(_ path: String, _ text: String) throws {
        let place = VaultPath(trusted: path)
        let before = try? vault.files.read(place).bytes
        _ = try vault.files.apply([.write(place, before: before, after: Array(text.utf8))], id: "test")
    }

    func contents() throws -> [String: String] {
        var found: [String: String] = [:]
        try vault.files.scan { path, _ in
            found[path] = (try? vault.files.read(VaultPath(trusted: path)).bytes).map { String(decoding: $0, as: UTF8.self) }
        }
        return found
    }

    @discardableResult
    func move(_ path: String, to: String) throws -> Int64? {
        try vault.change {
            let move = try VaultMove(path, to: to, in: vault)
            return try move.apply(try move.changes())
        }
    }

    func undo(_ id: Int64) throws -> [Vault.UndoConflict] {
        try vault.synchronize { false }
        let entry = try #require(try vault.journal.entry(id))
        switch vault.planUndo(of: entry) {
        case .conflicts(let conflicts): return conflicts
        case .possible(let changes):
            try vault.change { _ = try vault.apply("undo", changes, undoing: id) }
            return []
        }
    }

    /// Where each link of each file leads, with how it is written but for its target.
    func links() throws -> [String: [[String?]]] {
        var links: [String: [[String?]]] = [:]
        for (path, text) in try contents() {
            let found: [NoteLink]
            if path.hasSuffix(".canvas") { found = Canvas.read(text)?.links ?? [] } else {
                let note = NoteParser.parse(text)
                found = note.links + (note.frontMatter?.links ?? [])
            }
            links[path] = found.map { [vault.resolve($0.target, from: path), $0.subpath, $0.display, $0.kind.name] }
        }
        return links
    }
}

@Suite("A move")
struct MoveTests {
    @Test(
        "rewrites a link where it is written and no byte besides",
        arguments: [
            ("[[Old]]", "[[New]]"), ("[[ Old | it ]]", "[[ New | it ]]"), ("[[Old.md#A#B|x]]", "[[New.md#A#B|x]]"),
            ("![[Old#^id|300x20]]", "![[New#^id|300x20]]"), ("| a |\n|---|\n| [[Old\\|x]] |", "| a |\n|---|\n| [[New\\|x]] |"),
            ("[t](Old.md \"title\")", "[t](New.md \"title\")"), ("[t](<Old.md#A b>)", "[t](<New.md#A b>)"),
            ("![t|20](Old.md#A%20b)", "![t|20](New.md#A%20b)"), ("[t](Old)", "[t](New)"), ("[t](./Old.md)", "[t](New.md)"),
            ("[[/Old]] [[./Old]] [[OLD]]", "[[New]] [[New]] [[New]]"), ("[[Other]] Old [[Older]] `[[Old]]`", nil),
            ("---\na: \"[[Old|x]]\" # [[Old]]\nb:\n  - '[[Old]]'\n  - c: {d: [\"[[Old#h]]\"]}\ne: \"see [[Old]]\"\nf: [[Old]]\n---\n[[Old]]",
             "---\na: \"[[New|x]]\" # [[Old]]\nb:\n  - '[[New]]'\n  - c: {d: [\"[[New#h]]\"]}\ne: \"see [[Old]]\"\nf: [[Old]]\n---\n[[New]]"),
            ("---\na: &k '[[Old]]'\né: é\n'ü': |-\n  [[Old]]\n---\r\n", "---\na: &k '[[New]]'\né: é\n'ü': |-\n  [[New]]\n---\r\n"),
            ("\u{FEFF}---\r\na: \"[[Old]]\"\r\n---\r\n[[Old]]\r\n", "\u{FEFF}---\r\na: \"[[New]]\"\r\n---\r\n[[New]]\r\n"),
        ] as [(String, String?)])
    func places(text: String, expected: String?) throws {
        let scratch = try ScratchVault(["Old.md": "", "Other.md": "", "s.md": text])
        try scratch.move("Old.md", to: "New.md")
        let made = try #require(try scratch.contents()["s.md"])
        #expect(made.utf8.elementsEqual((expected ?? text).utf8), "\(made)")
    }

    @Test(
        "writes what links cannot have as they can",
        arguments: [
            ("[t](Old.md)", "a (b) c.md", "[t](a%20(b)%20c.md)"), ("[t](Old.md)", "a) b.md", "[t](a%29%20b.md)"),
            ("[t](<Old.md>)", "a 100%.md", "[t](<a 100%25.md>)"), ("[t](Old%2emd)", "é.md", "[t](é.md)"),
            ("[[Old]]", "v1.2.md", "[[v1.2]]"), ("[[Old]]", "a'b.md", "[[a'b]]"), ("---\nk: '[[Old]]'\n---", "a'b.md", "---\nk: '[[a''b]]'\n---"),
            ("[[Old]]", "a[b.md", "[[a[b]]"), ("[[Old]]", "New.md.md", "[[New.md]]"),
        ])
    func names(text: String, to: String, expected: String) throws {
        let scratch = try ScratchVault(["Old.md": "", "s.md": text])
        try scratch.move("Old.md", to: to)
        #expect(try scratch.contents()["s.md"] == expected)
    }

    @Test("to a name that a link cannot have is refused while there is such a link", arguments: ["C#.md", "a]].md", "a[[b.md", "a].md"])
    func unlinkable(to: String) throws {
        let scratch = try ScratchVault(["Old.md": "", "s.md": "[[Old]]", "Alone.md": ""])
        let before = try scratch.contents()
        let error = #expect(throws: VaultError.self) { try scratch.move("Old.md", to: to) }
        #expect(error?.code == .failedPrecondition && error?.message.contains("s.md") == true)
        #expect(try scratch.contents() == before)
        try scratch.move("Alone.md", to: to)
    }

    @Test("to a name that Obsidian refuses, or that is taken, is refused", arguments: ["a:b.md", "a|b", "x?/y.md", "s", "S.md", "./x.md", "Old.md"])
    func refused(to: String) throws {
        let scratch = try ScratchVault(["Old.md": "", "s.md": "[[Old]]"])
        let before = try scratch.contents()
        #expect(throws: VaultError.self) { try scratch.move("Old.md", to: to) }
        #expect(try scratch.contents() == before)
    }

    @Test(
        "writes new links in the form that the application's settings name",
        arguments: [
            ("{}", "[[New]] [x](New.md)"), (nil, "[[New]] [x](New.md)"), ("{\"newLinkFormat\":\"shortest\"}", "[[New]] [x](New.md)"),
            ("{\"newLinkFormat\":\"absolute\"}", "[[c/New]] [x](c/New.md)"), ("not JSON", "[[New]] [x](New.md)"),
            ("{\"newLinkFormat\":\"relative\",\"useMarkdownLinks\":true}", "[[../../c/New]] [x](../../c/New.md)"),
        ] as [(String?, String)])
    func forms(settings: String?, expected: String) throws {
        let scratch = try ScratchVault(["a/Old.md": "", "a/b/s.md": "[[a/Old]] [x](../Old.md)"], settings: settings)
        try scratch.move("a/Old", to: "c/New")
        #expect(try scratch.contents()["a/b/s.md"] == expected)
    }

    @Test("repairs links that it makes ambiguous, and those of the moved note that are relative or by its own folder")
    func repairs() throws {
        let scratch = try ScratchVault([
            "x/Note.md": "", "s.md": "[[Note]]", "y/Old.md": "[[../a/Two]] [[Two]] [[./Two]] ![](p.png)", "a/Two.md": "", "y/Two.md": "",
            "y/p.png": "", "longer/Note2.md": "[[Old]]",
        ])
        // The new name makes [[Note]] lead to the shorter path.
        try scratch.move("y/Old.md", to: "Note.md")
        let now = try scratch.contents()
        #expect(now["s.md"] == "[[x/Note]]" && now["longer/Note2.md"] == "[[Note]]")
        #expect(now["Note.md"] == "[[../a/Two]] [[y/Two]] [[y/Two]] ![](p.png)")
        // With the rival gone the links are right as they are.
        try scratch.move("Note.md", to: "y/Old.md")
        let later = try scratch.contents()
        #expect(later["s.md"] == "[[x/Note]]" && later["longer/Note2.md"] == "[[Old]]")
    }

    @Test("of case or composition alone is a move, with the links as they were")
    func respelled() throws {
        let scratch = try ScratchVault(["note.md": "", "s.md": "[[note]]", "e\u{301}.md": "", "A/b.md": ""])
        try scratch.move("note.md", to: "Note.md")
        try scratch.move("e\u{301}.md", to: "\u{E9}.md")
        try scratch.move("A/", to: "a")
        var names: [[UInt8]] = []
        try scratch.vault.files.scan { path, _ in names.append(Array(path.utf8)) }
        #expect(Set(names) == Set(["Note.md", "s.md", "\u{E9}.md", "a/b.md"].map { Array($0.utf8) }))
        #expect(try scratch.contents()["s.md"] == "[[note]]")
        // A folder is found in any case, and keeps its spelling.
        try scratch.move("note", to: "A/Other")
        #expect(try scratch.contents()["a/Other.md"] != nil)
    }

    @Test("of a folder takes all that is in it along, and is undone as one")
    func folders() throws {
        let scratch = try ScratchVault([
            "a/n.md": "[[m]] [[../o]] ![[deep/p.png]]", "a/m.md": "[[a/n]]", "a/deep/p.png": "", "o.md": "[[a/m]] [x](a/n.md)",
            "board.canvas": ##"{"nodes":[{"id":"1","type":"file","file":"a/n.md","subpath":"#h"}]}"##,
        ])
        try scratch.write("a/.hidden", "h")
        let before = try scratch.contents()
        let id = try #require(try scratch.move("a", to: "b/c"))
        var now = try scratch.contents()
        #expect(now["b/c/n.md"] == "[[m]] [[o]] ![[deep/p.png]]" && now["b/c/m.md"] == "[[n]]" && now["b/c/deep/p.png"] == "")
        #expect(now["o.md"] == "[[m]] [x](n.md)" && now["board.canvas"]?.contains("\"b/c/n.md\"") == true && now.count == 5)
        #expect(try scratch.vault.files.read(VaultPath(trusted: "b/c/.hidden")).bytes == Array("h".utf8))
        #expect(scratch.vault.paths == Set(now.keys))
        #expect(try scratch.vault.backlinks(to: "b/c/n.md").map(\.path) == ["b/c/m.md", "board.canvas", "o.md"])
        #expect(try scratch.vault.journal.entries(about: "a/deep/p.png", limit: 9, offset: 0).total == 1)
        // What comes into the folder later goes back with it, and links to that too.
        try scratch.write("b/c/later.md", "later")
        try scratch.write("later links.md", "[[b/c/later]] [[b/c/n]]")
        #expect(try scratch.undo(id) == [])
        now = try scratch.contents()
        #expect(now["later links.md"] == "[[later]] [[n]]" && now["a/later.md"] == "later")
        #expect(now.filter { before[$0.key] != nil } == before)
        #expect(scratch.vault.paths == Set(now.keys))
    }

    @Test("of a folder into itself, or over files that are there, is refused with their names")
    func refusedFolders() throws {
        let scratch = try ScratchVault(["a/n.md": "[[a/m]]", "a/m.md": "", "a/x/q.md": "", "b/N.md": "", "b/k.md": "", "e.md": ""])
        let before = try scratch.contents()
        for to in ["a", "a/b", "a/x/", "A/y"] { #expect(throws: VaultError.self, "\(to)") { try scratch.move("a/", to: to) } }
        #expect(throws: VaultError.self) { try scratch.move("none/", to: "c") }
        #expect(throws: VaultError.self) { try scratch.move("a/", to: "e.md") }
        let error = #expect(throws: VaultError.self) { try scratch.move("a", to: "b") }
        #expect(error?.code == .alreadyExists && error?.message.contains("b/n.md") == true && error?.message.contains("m.md") == false)
        #expect(try scratch.contents() == before)
        // Without the clash the files go in between those that are there, and the folder that they left goes.
        try scratch.move("b/N.md", to: "b/other.md")
        let id = try #require(try scratch.move("a", to: "b"))
        let now = try scratch.contents()
        #expect(now["b/n.md"] == "[[m]]" && now["b/x/q.md"] == "")
        #expect(access(scratch.folder.path + "/vault/a", F_OK) != 0)
        #expect(try scratch.undo(id) == [])
        #expect(try scratch.contents()["a/n.md"] == "[[a/m]]")
        // A folder that ends in / is where to go into.
        try scratch.move("a/", to: "b/")
        #expect(try scratch.contents()["b/a/x/q.md"] == "")
    }

    @Test("whatever moves, every link leads where it led, nothing else changes, and undoing it restores every byte", arguments: 0..<150 as Range<UInt64>)
    func property(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        func pick<T>(_ all: [T]) -> T { all[Int.random(in: 0..<all.count, using: &generator)] }
        let folders = ["", "a/", "a/b/", "c/", "c d/", "é/"]
        let titles = ["n", "m", "o p", "é", "(q) r", "v1.2", "100%"]
        var paths: [String] = []
        for _ in 0..<14 {
            let path = pick(folders) + pick(titles) + pick([".md", ".md", ".md", ".png"])
            if !paths.contains(path) { paths.append(path) }
        }
        func target(markdown: Bool) -> String {
            let path = VaultPath(trusted: pick(paths + ["none.md"]))
            var text = pick([path.name, path.text, "/" + path.text, "./" + path.name, "../" + path.name, "../" + path.text])
            if text.hasSuffix(".md"), Bool.random(using: &generator) { text = String(text.dropLast(3)) }
            return markdown ? text.replacing("%", with: "%25").replacing(" ", with: "%20") : text
        }
        func link() -> String {
            let sub = pick(["", "#h", "#^id"])
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: return "[[\(target(markdown: false))\(sub)|shown]]"
            case 1: return "![[\(target(markdown: false))]]"
            case 2: return "[t](\(target(markdown: true))\(sub))"
            case 3: return "![t](<\(target(markdown: true))> \"title\")"
            case 4: return "| [[\(target(markdown: false))\\|x]] |"
            default: return "[[ \(target(markdown: false))\(sub) ]]"
            }
        }
        var files: [String: String] = [:]
        for path in paths {
            guard path.hasSuffix(".md") else {
                files[path] = "binary"
                continue
            }
            var text = ""
            if Bool.random(using: &generator) {
                text += "---\n# comment [[n]]\nk: \"[[\(target(markdown: false))|x]]\"\nl:\n  - '[[\(target(markdown: false))]]'\n  - plain\n---\n"
            }
            for _ in 0..<4 { text += "text \(link()) and \(link())\n" }
            files[path] = text + "`[[n]]` n m\n"
        }
        files["b.canvas"] = #"{"nodes":[{"type":"file","file":"\#(pick(paths))"},{"type":"text","text":"[[\#(pick(titles))]] x"}]}"#
        let form = pick(["shortest", "relative", "absolute"])
        let scratch = try ScratchVault(files, settings: "{\"newLinkFormat\":\"\(form)\"}")
        var (before, links) = (try scratch.contents(), try scratch.links())
        let startLinks = links
        var made: [Int64] = []
        var steps: [[String: String]] = []
        for _ in 0..<5 {
            let isFolder = Int.random(in: 0..<3, using: &generator) == 0
            let from = isFolder ? pick(["a/", "a/b/", "c/", "c d/"]) : pick(before.keys.sorted())
            let to = isFolder ? pick(["x/y", "e", "c", "a", "a/b/z"]) : pick(folders + ["new/"]) + pick(titles) + "." + (from.split(separator: ".").last ?? "")
            let move: VaultMove
            let changes: [FileChange]
            do {
                move = try scratch.vault.change { try VaultMove(from, to: to, in: scratch.vault) }
                changes = try move.changes()
                guard let id = try scratch.vault.change({ try move.apply(changes) }) else { continue }
                made.append(id)
                steps.append(before)
            } catch is VaultError { continue }
            let (now, after) = (try scratch.contents(), try scratch.links())
            #expect(Set(now.keys) == Set(before.keys.map { move.moved[$0] ?? $0 }), "seed \(seed)")
            for (path, old) in links {
                let place = move.moved[path] ?? path
                let new = try #require(after[place])
                #expect(new.count == old.count, "seed \(seed), \(from) -> \(to), in \(path)")
                for (was, isNow) in zip(old, new) where was[0] != nil {
                    var wanted = was
                    wanted[0] = was[0].map { move.moved[$0] ?? $0 }
                    // A link that shows no text of its own shows its target.
                    #expect(isNow == wanted, "seed \(seed), \(from) -> \(to), in \(path)")
                }
                // Nothing but links changed.
                func rest(_ text: String?) -> String {
                    (text ?? "").replacing(/\[\[.*?\]\]|\]\(<.*?>|\]\([^ ]*\)|"file":"[^"]*"/, with: "")
                }
                if changes.contains(where: { $0.path.text == place && $0.content != .kept }) {
                    #expect(rest(now[place]) == rest(before[path]), "seed \(seed)")
                } else {
                    #expect(now[place] == before[path], "seed \(seed)")
                }
            }
            (before, links) = (now, after)
            #expect(scratch.vault.paths == Set(now.keys))
        }
        // The last one always leads back. Before that a link that led nowhere may have come to follow what moved to its
        // target, in a note that was changed since.
        let isWhole = !startLinks.values.joined().contains { $0[0] == nil }
        for (place, id) in made.enumerated().reversed() where isWhole || place == made.count - 1 {
            let conflicts = try scratch.undo(id)
            #expect(conflicts == [], "seed \(seed): \(conflicts)")
            #expect(try scratch.contents() == steps[place], "seed \(seed), move \(place)")
            #expect(scratch.vault.paths == Set(steps[place].keys))
        }
    }
}
