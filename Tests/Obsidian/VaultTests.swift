import Glibc
import KnapJSON
import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

@Suite("A vault")
struct VaultTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(_ name: String = "vault") throws -> Vault {
        mkdir(folder.path + "/" + name, 0o755)
        let vault = try Vault(root: folder.path + "/" + name, indexPath: folder.path + "/index.sqlite", journalPath: folder.path + "/history.sqlite")
        try vault.synchronize { false }
        return vault
    }

    private func copyOfRealVault(_ name: String) throws -> Vault {
        try folder.run("cp", "-r", try TestData.vault(name), folder.path + "/vault")
        try folder.run("chmod", "-R", "u+w", folder.path + "/vault")
        return try open()
    }

    @Test(
        "a path that leads out of the vault is refused, whatever it looks like",
        arguments: ["../x.md", "a/../../x.md", "/../x.md", "..", ".obsidian/app.json", "a//b.md", "", "a\0b.md", "a\\b.md", ".hidden.md"])
    func hostilePaths(path: String) throws {
        let vault = try open()
        #expect(throws: VaultError.self) { try vault.find(path) }
        #expect(throws: VaultError.self) { _ = try VaultPath(path) }
    }

    @Test("a symbolic link that leads out of the vault is followed neither to read nor to write")
    func symbolicLinks() throws {
        let vault = try open()
        mkdir(folder.path + "/outside", 0o755)
        try folder.run("sh", "-c", "echo secret > \(folder.path)/outside/secret.md; cd \(folder.path)/vault; ln -s ../outside out; ln -s ../outside/secret.md link.md")
        for path in ["out/secret.md", "link.md"] {
            let error = #expect(throws: VaultError.self) { try vault.files.read(VaultPath(trusted: path)) }
            #expect(error?.code == .permissionDenied)
        }
        #expect(throws: VaultFiles.Failure.self) {
            try vault.files.apply([.write(VaultPath(trusted: "out/new.md"), before: nil, after: [1])], id: "x")
        }
        #expect(access(folder.path + "/outside/new.md", F_OK) != 0)
        // A link in the place of a note is not written through.
        #expect(throws: VaultFiles.Failure.self) {
            try vault.files.apply([.write(VaultPath(trusted: "link.md"), before: [2], after: [1])], id: "x")
        }
    }

    @Test("a note is found as soon as the write that made it is answered")
    func searchAfterWrite() throws {
        let vault = try open()
        _ = try vault.change { try vault.write(VaultPath("a/New.md"), "# Quagga\nThe last quagga died in 1883.") }
        let (hits, total) = try vault.index.search(try SearchQuery("quagga 1883"), folder: nil, limit: 10, offset: 0)
        #expect(total == 1)
        #expect(hits.first?.summary.path == "a/New.md")
    }

    @Test("a write over another version than the expected one changes nothing and names the current one")
    func versions() throws {
        let vault = try open()
        let path = try VaultPath("n.md")
        let first = try vault.change { try vault.write(path, "one").version }
        _ = try vault.change { try vault.write(path, "two", expecting: first) }
        let error = #expect(throws: VaultError.self) { try vault.change { try vault.write(path, "three", expecting: first) } }
        #expect(error?.code == .aborted)
        #expect(try vault.readText(path).text == "two")
    }

    @Test("a full disk leaves the note as it was and says so", .enabled(if: getuid() == 0))
    func fullDisk() throws {
        mkdir(folder.path + "/small", 0o755)
        try folder.run("mount", "-t", "tmpfs", "-o", "size=64k", "none", folder.path + "/small")
        defer { try? folder.run("umount", "-l", folder.path + "/small") }
        let files = try VaultFiles(root: folder.path + "/small")
        let path = try VaultPath("n.md")
        _ = try files.apply([.write(path, before: nil, after: Array("short".utf8))], id: "x")
        let failure = #expect(throws: VaultFiles.Failure.self) {
            try files.apply([.write(path, before: Array("short".utf8), after: [UInt8](repeating: 65, count: 1 << 20))], id: "x")
        }
        #expect(failure?.error.code == .resourceExhausted && failure?.isTakenBack == true)
        #expect(try files.read(path).bytes == Array("short".utf8))
        var names: [String] = []
        try files.scan { name, _ in names.append(name) }
        #expect(names == ["n.md"])
    }

    @Test("the index survives a restart, and a damaged one is built anew", .enabled(if: TestData.isThere))
    func indexSurvives() throws {
        let count = try copyOfRealVault("docs").index.count()
        #expect(count == 115)
        let again = try Vault(root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite", journalPath: folder.path + "/history.sqlite")
        #expect(try again.index.count() == 115)
        let file = try #require(fopen(folder.path + "/index.sqlite", "r+"))
        for _ in 0..<2000 { fputs("garbage!", file) }
        fclose(file)
        unlink(folder.path + "/index.sqlite-wal")
        let rebuilt = try open()
        #expect(try rebuilt.index.count() == 115)
    }

    @Test("every link of every note leads to the same file after a move", .enabled(if: TestData.isThere), arguments: [1, 2, 3] as [UInt64])
    func movesKeepLinks(seed: UInt64) throws {
        let vault = try copyOfRealVault("docs")
        var random = SeededGenerator(seed: seed)
        let notes = vault.paths.filter { $0.hasSuffix(".md") }.sorted()
        for _ in 0..<8 {
            let from = notes[Int(random.next() % UInt64(notes.count))]
            guard vault.paths.contains(from) else { continue }
            let to = "Moved \(random.next() % 1000)/\(random.next() % 2 == 0 ? VaultPath(trusted: from).name : "Renamed \(random.next() % 1000).md")"
            let before = targets(vault)
            try vault.change { _ = try ObsidianPlugin.move(VaultPath(trusted: from), VaultPath(trusted: to), in: vault) }
            let expected = before.mapKeys(from, to).mapValues { $0.map { $0 == from ? to : $0 } }
            let after = targets(vault)
            for (note, links) in expected { #expect(after[note] == links, "seed \(seed), \(from) -> \(to), in \(note)") }
        }
    }

    /// Where each link of each note leads.
    private func targets(_ vault: Vault) -> [String: [String]] {
        var targets: [String: [String]] = [:]
        for path in vault.paths where path.hasSuffix(".md") {
            guard let text = try? vault.readText(VaultPath(trusted: path)).text else { continue }
            let note = NoteParser.parse(text)
            targets[path] = (note.links + (note.frontMatter?.links ?? [])).map { vault.resolve($0.target, from: path) ?? "none: \($0.target)" }
        }
        return targets
    }

    @Test("a change made by another program is found, whether written, renamed over, moved or removed")
    func followsTheFileSystem() async throws {
        let vault = try open()
        let watcher = try VaultWatcher(vault: vault) { Issue.record("\($0)") }
        watcher.start()
        defer { watcher.stop() }
        let root = folder.path + "/vault"
        try folder.run("sh", "-c", "echo first > \(root)/a.md")
        try await found("first", ["a.md"], vault)
        try folder.run("sh", "-c", "echo second > \(root)/.a.md.tmp && mv \(root)/.a.md.tmp \(root)/a.md")
        try await found("second", ["a.md"], vault)
        try folder.run("sh", "-c", "mkdir -p \(root)/new/deep && echo third > \(root)/new/deep/b.md")
        try await found("third", ["new/deep/b.md"], vault)
        try folder.run("mv", root + "/new", root + "/old")
        try await found("third", ["old/deep/b.md"], vault)
        try folder.run("rm", root + "/a.md")
        try await found("second", [], vault)
    }

    private func found(_ query: String, _ expected: [String], _ vault: Vault) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        var paths: [String] = []
        while ContinuousClock.now < deadline {
            paths = try vault.index.search(try SearchQuery(query), folder: nil, limit: 10, offset: 0).hits.map(\.summary.path)
            if paths == expected { return }
            await Task.yield()
        }
        Issue.record("\(query): found \(paths), expected \(expected)")
    }

    @Test("changing a property touches its own lines and nothing else")
    func frontMatterEdits() throws {
        let text = "---\n# a comment\ntitle:   \"Old\"   # kept?\nlist:\n  - a\n  - b\nlast: 1\n---\nBody --- here\n"
        #expect(try FrontMatterEditor.set("list", to: ["x"], in: text) == text.replacing("list:\n  - a\n  - b\n", with: "list:\n  - x\n"))
        #expect(try FrontMatterEditor.set("new", to: "yes", in: text) == text.replacing("last: 1\n", with: "last: 1\nnew: yes\n"))
        #expect(try FrontMatterEditor.remove("last", in: text) == text.replacing("last: 1\n", with: ""))
        #expect(try FrontMatterEditor.set("k", to: "a: b", in: "no front matter") == "---\nk: \"a: b\"\n---\nno front matter")
    }
}

extension Dictionary where Key == String {
    func mapKeys(_ from: String, _ to: String) -> [String: Value] {
        Dictionary(map { ($0.key == from ? to : $0.key, $0.value) }) { first, _ in first }
    }
}
