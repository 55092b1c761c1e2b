import Glibc
import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

@Suite("A new file's name")
struct NameTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        mkdir(folder.path + "/vault", 0o755)
    }

    private func open() throws -> Vault {
        let vault = try Vault(
            root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite", journalPath: folder.path + "/history.sqlite")
        try vault.synchronize { false }
        return vault
    }

    @Test(
        "is refused where Obsidian or another system refuses it",
        arguments: [
            "a*b.md", "a\"b.md", "a\\b.md", "a<b.md", "a>b.md", "a:b.md", "a|b.md", "a?b.md", "f?/a.md", ".a.md", "f/.a/b.md",
            "a\u{7}.md", "a\u{7F}.md", "a\u{85}.md", "a .md", "a..md", "f /a.md", "f./a.md", " a.md", "a.md ", "a~", "a.md.tmp",
            String(repeating: "é", count: 127) + ".md", String(repeating: "d/", count: 70) + "a.md",
        ])
    func refused(path: String) throws {
        let vault = try open()
        let error = #expect(throws: VaultError.self) { try vault.placeOfNew(try VaultPath(path)) }
        #expect(error?.code == .invalidArgument)
    }

    @Test(
        "may have all that others take",
        arguments: ["Ünïcode 🙂.md", "a.b.md", "a#b^c[d].md", "f/g/a, b & c (d).md", "+'!=@%;.md", String(repeating: "x", count: 252) + ".md"])
    func taken(path: String) throws {
        let vault = try open()
        _ = try vault.change { try vault.write(try vault.placeOfNew(try VaultPath(path)), "text") }
        #expect(access(folder.path + "/vault/" + path, F_OK) == 0)
    }

    @Test("in another case or composition means the file that is there, and folders are as they are spelt")
    func spellings() throws {
        mkdir(folder.path + "/vault/Caf\u{E9}", 0o755)
        try folder.run("touch", folder.path + "/vault/Caf\u{E9}/Th\u{E9}.md")
        let vault = try open()
        for (path, expected) in [
            ("Cafe\u{301}/The\u{301}.md", "Caf\u{E9}/Th\u{E9}.md"), ("CAF\u{C9}/TH\u{C9}.md", "Caf\u{E9}/Th\u{E9}.md"),
            ("cafe\u{301}/New/New.md", "Caf\u{E9}/New/New.md"), ("Caf\u{E9}/th\u{E9} noir.md", "Caf\u{E9}/th\u{E9} noir.md"),
        ] {
            let place = try vault.placeOfNew(try VaultPath(path)).text
            #expect(place.utf8.elementsEqual(expected.utf8), "\(path): \(place)")
        }
    }

    @Test("that no new file may have is read, changed and deleted where it is there", arguments: ["a?b: c.md", String(repeating: "x", count: 252) + ".md"])
    func found(name: String) throws {
        try folder.run("touch", folder.path + "/vault/" + name)
        let vault = try open()
        let path = try vault.find(name)
        _ = try vault.change { try vault.write(try vault.placeOfNew(path), "text") }
        // Twice, so that the name in the trash has to be another one.
        for _ in 0..<2 {
            try folder.run("touch", folder.path + "/vault/" + name)
            let bytes = try vault.files.read(path).bytes
            _ = try vault.change { try vault.apply("delete", [.delete(path, before: bytes)]) }
            #expect(access(folder.path + "/vault/" + name, F_OK) != 0)
        }
    }

    @Test("through links that go round in circles leads nowhere, and the vault is read all the same")
    func circles() throws {
        try folder.run("sh", "-c", "cd \(folder.path)/vault; ln -s b.md a.md; ln -s a.md b.md; ln -s . self; echo x > n.md; ln -s n.md in.md")
        let vault = try open()
        #expect(vault.paths == ["n.md"])
        for path in ["a.md", "self/a.md"] {
            let error = #expect(throws: VaultError.self) { try vault.files.read(VaultPath(trusted: path)) }
            #expect(error?.code == .permissionDenied && error?.message.contains("circles") == true)
            #expect(throws: VaultError.self) { try vault.change { try vault.write(VaultPath(trusted: path), "text") } }
        }
        // A link within the vault is followed to read, and not written through.
        #expect(try vault.readText(VaultPath(trusted: "in.md")).text == "x\n")
        #expect(throws: VaultError.self) { try vault.change { try vault.write(VaultPath(trusted: "in.md"), "text") } }
    }

    @Test("a file that is written while it is read is read whole")
    func whileWritten() async throws {
        let path = folder.path + "/vault/n.md"
        let texts = [UInt8(ascii: "a"), UInt8(ascii: "b")].map { [UInt8](repeating: $0, count: 300_000) }
        let files = try open().files
        try folder.run("touch", path)
        let writer = Task.detached {
            for number in 0..<60 {
                // As editors do that empty the file and write it, in several pieces.
                let file = Glibc.open(path, O_WRONLY | O_TRUNC)
                for start in stride(from: 0, to: 300_000, by: 50_000) { _ = texts[number % 2][start..<start + 50_000].withUnsafeBytes { write(file, $0.baseAddress, $0.count) } }
                close(file)
                await Task.yield()
            }
            return true
        }
        let reader = Task.detached {
            var kinds: Set<Int> = []
            var count = 0
            while count < 200 {
                let bytes = try files.read(VaultPath(trusted: "n.md")).bytes
                if !bytes.isEmpty { kinds.insert(texts.firstIndex(of: bytes) ?? bytes.count) }
                count += 1
            }
            return kinds
        }
        #expect(try await reader.value.isSubset(of: [0, 1]))
        #expect(await writer.value)
    }
}
