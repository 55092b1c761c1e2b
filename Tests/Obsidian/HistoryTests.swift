import Glibc
import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

private func randomText(_ generator: inout SeededGenerator, lines: Int = 12) -> String {
    let words = ["a", "b", "c", "é", "🙂", ""]
    let text = (0..<Int.random(in: 0...lines, using: &generator)).map { _ in
        words.randomElement(using: &generator) ?? ""
    }.joined(separator: "\n")
    return text + (Bool.random(using: &generator) ? "\n" : "")
}

@Suite("Differences and merges")
struct MergeTests {
    @Test("a difference leads from one text to the other", arguments: 0..<300 as Range<UInt64>)
    func differences(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let (old, new) = (randomText(&generator), randomText(&generator))
        let difference = LineDifference(from: old, to: new)
        var made: [Substring] = []
        var at = 0
        for hunk in difference.hunks {
            #expect(hunk.old.lowerBound >= at && !(hunk.old.isEmpty && hunk.new.isEmpty))
            made += difference.old[at..<hunk.old.lowerBound] + difference.new[hunk.new]
            at = hunk.old.upperBound
        }
        made += difference.old[at...]
        #expect(made.joined() == new, "seed \(seed)")
        #expect(difference.hunks.isEmpty == (old == new))
    }

    @Test("a difference is shown as diff -u shows it")
    func unified() throws {
        let folder = try TemporaryFolder()
        for seed in 0..<60 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            let old = randomText(&generator, lines: 40)
            let new = randomText(&generator, lines: 40)
            try folder.write("old", old)
            try folder.write("patch", "--- old\n+++ old\n" + LineDifference(from: old, to: new).unified())
            if old != new { try folder.run("patch", "-s", folder.path + "/old", folder.path + "/patch") }
            #expect(try folder.read("old") == new, "seed \(seed)")
        }
    }

    @Test(
        "changes apart are put together, and those of the same lines conflict",
        arguments: [
            ("1\n2\n3\n4\n5\n", "1\nx\n3\n4\n5\n", "1\n2\n3\n4\ny\n", "1\nx\n3\n4\ny\n"),
            ("1\n2\n3\n", "0\n1\n2\n3\n", "1\n2\n3\n4\n", "0\n1\n2\n3\n4\n"),
            ("1\n2\n3\n4\n", "1\n4\n", "1\n2\n3\n4\n5\n", "1\n4\n5\n"),
            ("1\n2\n", "1\nx\n", "1\nx\n", "1\nx\n"),
            ("1\n2\n", "1\nx\n", "1\ny\n", nil), ("1\n2\n3\n", "1\n3\n", "1\nx\n3\n", nil), ("", "a\n", "b\n", nil),
            ("a", "a\n", "a", "a\n"), ("1\n2\n", "", "1\n2\n", ""),
        ] as [(String, String, String, String?)])
    func merges(base: String, ours: String, theirs: String, expected: String?) {
        for (left, right) in [(ours, theirs), (theirs, ours)] {
            switch ThreeWayMerge.merge(base: base, ours: left, theirs: right) {
            case .merged(let text): #expect(text == expected)
            case .conflicts(let conflicts): #expect(expected == nil && !conflicts.isEmpty)
            }
        }
    }

    @Test("a side that changed nothing leaves the other as it is", arguments: 0..<200 as Range<UInt64>)
    func oneSide(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let (base, other) = (randomText(&generator), randomText(&generator))
        #expect(ThreeWayMerge.merge(base: base, ours: other, theirs: base) == .merged(other))
        #expect(ThreeWayMerge.merge(base: base, ours: base, theirs: other) == .merged(other))
        #expect(ThreeWayMerge.merge(base: base, ours: other, theirs: other) == .merged(other))
    }
}

@Suite("The history of a vault")
struct HistoryTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        mkdir(folder.path + "/vault", 0o755)
    }

    private func open() throws -> Vault {
        let vault = try Vault(
            root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite",
            journalPath: folder.path + "/history.sqlite")
        try vault.synchronize { false }
        return vault
    }

    private func contents(_ vault: Vault) throws -> [String: String] {
        var found: [String: String] = [:]
        try vault.files.scan { path, _ in
            found[path] = (try? vault.files.read(VaultPath(trusted: path)).bytes).map { String(decoding: $0, as: UTF8.self) }
        }
        return found
    }

    private func undo(_ id: Int64, in vault: Vault) throws -> [Vault.UndoConflict] {
        switch vault.planUndo(of: try #require(try vault.journal.entry(id))) {
        case .conflicts(let conflicts): return conflicts
        case .possible(let changes):
            if !changes.isEmpty { try vault.change { _ = try vault.apply("undo", changes, undoing: id) } }
            return []
        }
    }

    @Test("whatever was done, undoing all of it leads back, also after restarts", arguments: 0..<20 as Range<UInt64>)
    func leadsBack(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var vault = try open()
        for number in 0..<6 {
            let text = "Note \(number)\n[[n\((number + 1) % 6)]] and [[f/n\(number)|x]]\n" + randomText(&generator)
            try folder.write("vault/n\(number).md", text)
        }
        vault = try open()
        let before = try contents(vault)
        var made: [Int64] = []
        for _ in 0..<30 {
            let path = try #require(vault.paths.sorted().randomElement(using: &generator))
            let note = VaultPath(trusted: path)
            let id: Int64? = try vault.change {
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: return try vault.write(note, randomText(&generator)).change
                case 1:
                    let name = "new \(Int.random(in: 0..<1_000_000, using: &generator)).md"
                    return try vault.write(VaultPath(trusted: "f/" + name), randomText(&generator)).change
                case 2:
                    let to = VaultPath(trusted: "g/moved \(Int.random(in: 0..<1_000_000, using: &generator)).md")
                    return try ObsidianPlugin.move(note, to, in: vault).change
                default:
                    guard vault.paths.count > 3 else { return nil }
                    return try vault.apply("delete", [.delete(note, before: try vault.files.read(note).bytes)]).id
                }
            }
            if let id { made.append(id) }
            if Int.random(in: 0..<8, using: &generator) == 0 { vault = try open() }
        }
        for id in made.reversed() {
            let conflicts = try undo(id, in: vault)
            #expect(conflicts == [], "seed \(seed), change \(id)")
        }
        #expect(try contents(vault) == before, "seed \(seed)")
        // The index agrees with the files.
        #expect(vault.paths == Set(before.keys))
        // And undoing what undid leads forward again.
        let (entries, _) = try vault.journal.entries(about: nil, limit: 1000, offset: 0)
        #expect(entries.count == made.count * 2 && entries.allSatisfy { $0.undoes != nil || $0.undoneBy != nil })
    }

    @Test("what a person edited since stays, and what contradicts it is shown and not done")
    func editsSince() throws {
        let vault = try open()
        let path = try VaultPath("n.md")
        _ = try vault.change { try vault.write(path, "1\n2\n3\n4\n5\n") }
        let edit = try vault.change { try vault.write(path, "1\nagent\n3\n4\n5\n") }.change
        try folder.write("vault/n.md", "1\nagent\n3\n4\nperson\n")
        #expect(try undo(try #require(edit), in: vault) == [])
        #expect(try folder.read("vault/n.md") == "1\n2\n3\n4\nperson\n")

        let again = try vault.change { try vault.write(path, "1\nagent\n3\n4\nperson\n") }.change
        try folder.write("vault/n.md", "1\nagent and person\n3\n4\nperson\n")
        let conflicts = try undo(try #require(again), in: vault)
        #expect(conflicts.count == 1 && conflicts[0].line == 2)
        #expect(conflicts[0].now == "agent and person\n" && conflicts[0].wanted == "2\n")
        #expect(try folder.read("vault/n.md") == "1\nagent and person\n3\n4\nperson\n")
        // A note that the change made and a person went on with is not thrown away.
        let made = try vault.change { try vault.write(try VaultPath("made.md"), "agent\n") }.change
        try folder.write("vault/made.md", "agent\nperson\n")
        #expect(try undo(try #require(made), in: vault).count == 1)
        #expect(try folder.read("vault/made.md") == "agent\nperson\n")
    }

    @Test("several files change together or not at all")
    func allOrNothing() throws {
        let vault = try open()
        for name in ["a", "b", "c"] { try folder.write("vault/\(name).md", name) }
        let before = try contents(vault)
        func change(_ name: String, _ expected: String) -> FileChange {
            .write(VaultPath(trusted: name + ".md"), before: Array(expected.utf8), after: Array("new".utf8))
        }
        let renamed = FileChange.move(VaultPath(trusted: "a.md"), to: VaultPath(trusted: "d/e.md"))
        // The last one is not what it is expected to be.
        for changes in [[renamed, change("b", "b"), change("c", "x")], [change("a", "a"), change("b", "x"), renamed]] {
            #expect(throws: VaultError.self) { try vault.change { try vault.apply("test", changes) } }
            #expect(try contents(vault) == before)
            #expect(try vault.journal.entries(about: nil, limit: 10, offset: 0).total == 0)
            #expect(access(folder.path + "/vault/d", F_OK) != 0)
        }
        var hidden: [String] = []
        try folder.run("sh", "-c", "ls -A '\(folder.path)/vault' > '\(folder.path)/names'")
        hidden = try folder.read("names").split(separator: "\n").map(String.init).filter { $0.hasPrefix(".knap") }
        #expect(hidden == [])
    }

    @Test("a change that was cut off is taken back at the next start, and one that was complete is kept", arguments: 0...4)
    func cutOff(made: Int) throws {
        var vault = try open()
        for name in ["a", "b", "c"] { try folder.write("vault/\(name).md", name) }
        let before = try contents(vault)
        let paths = ["a", "b", "c"].map { VaultPath(trusted: $0 + ".md") }
        let changes: [FileChange] = [
            .move(paths[0], to: VaultPath(trusted: "f/a.md"), .written(before: Array("a".utf8), after: Array("A".utf8))),
            .write(paths[1], before: Array("b".utf8), after: Array("B".utf8)),
            .delete(paths[2], before: Array("c".utf8)), .write(VaultPath(trusted: "d.md"), before: nil, after: [68]),
        ]
        let id = try vault.journal.prepare("test", changes, now: 0)
        _ = try vault.files.apply(Array(changes.prefix(made)), id: "other")
        let temporary = "vault/.knap-\(vault.journal.temporaries(of: id))-1"
        try folder.write(temporary, "")
        vault = try open()
        let expected = made == 4 ? ["f/a.md": "A", "b.md": "B", "d.md": "D"] : before
        #expect(try contents(vault) == expected)
        #expect(access(folder.path + "/" + temporary, F_OK) != 0)
        #expect(try vault.journal.unfinished().isEmpty)
        #expect(try vault.journal.entries(about: nil, limit: 10, offset: 0).total == (made == 4 ? 1 : 0))
    }

    @Test("a file that another program has just changed, or is writing, is left to it")
    func otherPrograms() throws {
        let vault = try open()
        let path = try VaultPath("n.md")
        try folder.write("vault/n.md", "person")
        let stale = FileChange.write(path, before: Array("old".utf8), after: Array("agent".utf8))
        let error = #expect(throws: VaultError.self) { try vault.change { try vault.apply("write", [stale]) } }
        #expect(error?.code == .aborted)
        #expect(try folder.read("vault/n.md") == "person")
        let writer = Glibc.open(folder.path + "/vault/n.md", O_WRONLY)
        let fresh = FileChange.write(path, before: Array("person".utf8), after: Array("agent".utf8))
        let busy = #expect(throws: VaultError.self) { try vault.change { try vault.apply("write", [fresh]) } }
        #expect(busy?.message.contains("open") == true)
        #expect(pwrite(writer, "PERSON", 6, 0) == 6)
        close(writer)
        #expect(try folder.read("vault/n.md") == "PERSON")
    }

    @Test("what another program saved in the moment of a crash is seen again, and what a person edited after it stays")
    func cutOffBesidePeople() throws {
        var vault = try open()
        let paths = ["a", "b"].map { VaultPath(trusted: $0 + ".md") }
        for path in paths { try folder.write("vault/" + path.text, "1\n2\n3\n") }
        let changes = paths.map { path in
            FileChange.write(path, before: Array("1\n2\n3\n".utf8), after: Array("one\n2\n3\n".utf8))
        }
        let id = try vault.journal.prepare("test", changes, now: 0)
        // The first is published, in exchange with what a person had just saved, and edited on; the second is not.
        try folder.write("vault/a.md", "one\n2\nthree\n")
        let temporaries = "vault/.knap-" + vault.journal.temporaries(of: id)
        try folder.write(temporaries + "-0", "saved by a person")
        try folder.write(temporaries + "-back-1", "one\n2")
        vault = try open()
        #expect(try contents(vault) == [
            "a.md": "1\n2\nthree\n", "b.md": "1\n2\n3\n", "a (saved meanwhile 1).md": "saved by a person",
        ])
        #expect(access(folder.path + "/" + temporaries + "-back-1", F_OK) != 0)
        #expect(try vault.journal.unfinished().isEmpty)
    }

    @Test("a file whose moving back was itself cut off gets its content back too")
    func cutOffWhileTakenBack() throws {
        var vault = try open()
        let (from, to) = (VaultPath(trusted: "a.md"), VaultPath(trusted: "f/a.md"))
        try folder.write("vault/a.md", "new")
        try folder.write("vault/b.md", "b")
        _ = try vault.journal.prepare(
            "test", [
                .move(from, to: to, .written(before: Array("old".utf8), after: Array("new".utf8))),
                .write(VaultPath(trusted: "b.md"), before: Array("b".utf8), after: Array("B".utf8)),
            ], now: 0)
        vault = try open()
        #expect(try contents(vault) == ["a.md": "old", "b.md": "b"])
    }

    @Test("a commit of the journal is on disk when it returns")
    func durable() throws {
        let journal = ChangeJournal(path: folder.path + "/history.sqlite")
        #expect(try journal.synchronous == 2)
    }

    @Test("scans side by side each find everything")
    func scans() async throws {
        for number in 0..<500 { try folder.write("vault/\(number).md", "") }
        let files = try open().files
        await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    (0..<20).map { _ in
                        var count = 0
                        try? files.scan { _, _ in count += 1 }
                        return count
                    }.min() ?? 0
                }
            }
            for await least in group { #expect(least == 500) }
        }
    }

    @Test("a broken journal is put aside, and a history begins anew")
    func broken() throws {
        _ = try open()
        try folder.run("rm", "-f", folder.path + "/history.sqlite-wal", folder.path + "/history.sqlite-shm")
        try folder.write("history.sqlite", String(repeating: "garbage!", count: 4096))
        let vault = try open()
        #expect(try vault.change { try vault.write(try VaultPath("n.md"), "text") }.change == 1)
        try folder.run("sh", "-c", "ls '\(folder.path)' > '\(folder.path)/names'")
        #expect(try folder.read("names").contains("history.sqlite.broken-2"))
        #expect(vault.journal.notice?.contains("history.sqlite.broken-2") == true && vault.journal.problem == nil)
    }

    @Test("a journal that breaks while it is used is put aside, and the change is made")
    func breaksInUse() throws {
        let vault = try open()
        _ = try vault.change { try vault.write(try VaultPath("n.md"), "one") }
        let file = try #require(fopen(folder.path + "/history.sqlite", "r+"))
        for _ in 0..<20_000 { fputs("garbage!", file) }
        fclose(file)
        truncate(folder.path + "/history.sqlite-wal", 0)
        let renamed = FileChange.move(VaultPath(trusted: "n.md"), to: VaultPath(trusted: "m.md"))
        let made = FileChange.write(VaultPath(trusted: "o.md"), before: nil, after: [65])
        try vault.change { _ = try vault.apply("test", [renamed, made]) }
        #expect(try contents(vault) == ["m.md": "one", "o.md": "A"])
    }

    @Test("a vault whose journal cannot be opened is served without a history, and says so")
    func withoutJournal() throws {
        mkdir(folder.path + "/history.sqlite", 0o755)
        let vault = try open()
        #expect(try vault.change { try vault.write(try VaultPath("n.md"), "text") }.change == nil)
        #expect(vault.warning?.contains("cannot be undone") == true)
        #expect(vault.journal.problem?.contains("history.sqlite") == true)
        #expect(throws: VaultError.self) { try vault.journal.entry(1) }
        #expect(access(folder.path + "/history.sqlite", F_OK) == 0)
    }

    @Test("the journal keeps within its bounds, gives the disk its room back, and loses the oldest first")
    func bounded() throws {
        let path = folder.path + "/bounded.sqlite"
        let journal = ChangeJournal(path: path, limits: .init(changes: 50, bytes: 1 << 20, age: 1e9))
        func size() -> Int {
            var status = stat()
            return stat(path, &status) == 0 ? Int(status.st_size) : 0
        }
        var generator = SeededGenerator(seed: 1)
        var last: Int64 = 0
        for number in 0..<400 {
            // Half of it large, then half of it small.
            let bytes = (0..<(number < 200 ? 100_000 : 100)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            last = try journal.prepare("test", [.write(VaultPath(trusted: "n.md"), before: nil, after: bytes)], now: Double(time(nil)))
            journal.settle(.finish(last, trashed: [:]))
        }
        let (entries, total) = try journal.entries(about: nil, limit: 1, offset: 0)
        #expect(entries.first?.id == last && total <= 150 && total >= 50)
        #expect(size() < 1 << 20, "\(size())")
        let old = ChangeJournal(path: folder.path + "/old.sqlite", limits: .init(age: 100))
        for time in [0, 0, Double(time(nil))] {
            old.settle(.finish(try old.prepare("test", [.write(VaultPath(trusted: "n.md"), before: nil, after: [1])], now: time), trashed: [:]))
        }
        for _ in 0..<97 { old.settle(.finish(try old.prepare("test", [], now: Double(time(nil))), trashed: [:])) }
        let (gone, kept) = (try old.entry(2), try old.entry(3))
        #expect(gone == nil && kept != nil)
    }

    @Test("two hosts with one vault name their temporary files apart")
    func twoHosts() throws {
        let vault = try open()
        let other = ChangeJournal(path: folder.path + "/other.sqlite")
        #expect(vault.journal.temporaries(of: 1) != other.temporaries(of: 1))
        #expect(try open().journal.temporaries(of: 1) == vault.journal.temporaries(of: 1))
    }

    @Test("links that were made to the new place since are written back when a move is undone")
    func linksSince() throws {
        var vault = try open()
        try folder.write("vault/Old.md", "old")
        try folder.write("vault/s.md", "see [[Old|it]] there\n\nend\n")
        vault = try open()
        let change = try vault.change {
            try ObsidianPlugin.move(VaultPath(trusted: "Old.md"), VaultPath(trusted: "f/New.md"), in: vault).change
        }
        #expect(try folder.read("vault/s.md") == "see [[New|it]] there\n\nend\n")
        try folder.write("vault/s.md", "see [[New|it]] here\n\nend [[f/New#h]]\n")
        try folder.write("vault/t.md", "---\na: '[[New]]'\n---\n[x](f/New.md)\n")
        vault = try open()
        #expect(try undo(try #require(change), in: vault) == [])
        #expect(try contents(vault) == [
            "Old.md": "old", "s.md": "see [[Old|it]] here\n\nend [[Old#h]]\n",
            "t.md": "---\na: '[[Old]]'\n---\n[x](Old.md)\n",
        ])
    }

    @Test("a moved folder whose undoing was cut off, or whose moving was, is as it was before", arguments: 0...3)
    func cutOffFolder(step: Int) throws {
        var vault = try open()
        mkdir(folder.path + "/vault/a", 0o755)
        try folder.write("vault/a/n.md", "[[m]] [[../o]]")
        try folder.write("vault/a/m.md", "m")
        try folder.write("vault/o.md", "[[a/m]]")
        vault = try open()
        let before = try contents(vault)
        let changes = try VaultMove("a", to: "b/c", in: vault).changes()
        #expect(changes.first?.isFolder == true && changes.count == 3)
        let id = try vault.journal.prepare("move", changes, now: 0)
        let temporaries = vault.journal.temporaries(of: id)
        if step > 0 { _ = try vault.files.apply(Array(changes.prefix(step)), id: "other") }
        try folder.write("vault/\(step == 0 ? "a" : "b/c")/.knap-\(temporaries)-1", "")
        vault = try open()
        var expected = before
        if step == 3 {
            expected = [
                "b/c/n.md": "[[m]] [[o]]", "b/c/m.md": "m", "o.md": "[[m]]",
            ]
        }
        #expect(try contents(vault) == expected)
        #expect(access(folder.path + "/vault/\(step == 3 ? "b/c" : "a")/.knap-\(temporaries)-1", F_OK) != 0)
        #expect(try vault.journal.unfinished().isEmpty)
    }
}

extension TemporaryFolder {
    fileprivate func write(_ name: String, _ text: String) throws {
        let file = try #require(fopen(path + "/" + name, "w"), "\(name): \(String(cString: strerror(errno)))")
        defer { fclose(file) }
        let bytes = Array(text.utf8)
        try #require(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    fileprivate func read(_ name: String) throws -> String {
        let file = try #require(fopen(path + "/" + name, "r"), "\(name): \(String(cString: strerror(errno)))")
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&bytes, 1, 1 << 20, file)
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
