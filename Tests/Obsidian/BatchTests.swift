import Glibc
import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

@Suite("A batch of operations")
struct BatchTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        mkdir(folder.path + "/vault", 0o755)
        try folder.run("sh", "-c", "cd \(folder.path)/vault; printf 'one\\n' > a.md; printf 'two\\n' > b.md; printf '\\377\\n' > binary.md")
    }

    private func open() throws -> Vault {
        let vault = try Vault(
            root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite", journalPath: folder.path + "/history.sqlite")
        try vault.synchronize { false }
        return vault
    }

    private func run(_ operations: JSON, in vault: Vault, isPreview: Bool = false) throws -> ObsidianPlugin.BatchOutput {
        let decoded = (operations.arrayValue ?? []).map { each in
            ObsidianPlugin.BatchInput.Operation(
                operation: each["operation"]?.stringValue ?? "", path: each["path"]?.stringValue ?? "",
                content: each["content"]?.stringValue, overwrite: each["overwrite"]?.boolValue, action: each["action"]?.stringValue,
                find: each["find"]?.stringValue, version: each["version"]?.stringValue)
        }
        return try vault.change { try ObsidianPlugin.batch(decoded, isPreview: isPreview, in: vault) }
    }

    private func texts(_ vault: Vault) throws -> [String: String] {
        var found: [String: String] = [:]
        try vault.files.scan { path, _ in
            found[path] = (try? vault.files.read(VaultPath(trusted: path)).bytes).map { String(decoding: $0, as: UTF8.self) }
        }
        return found
    }

    @Test("sees what its operations did, and is one change that is undone as one")
    func evolves() throws {
        let vault = try open()
        let before = try texts(vault)
        let operations: JSON = [
            ["operation": "write", "path": "f/New", "content": "1\n"],
            ["operation": "edit", "path": "f/new", "content": "2"],
            ["operation": "edit", "path": "a", "find": "one", "content": "uno"],
            ["operation": "edit", "path": "a", "find": "uno", "content": "eins"],
            ["operation": "delete", "path": "b"],
            ["operation": "write", "path": "gone.md", "content": "x"], ["operation": "delete", "path": "gone"],
        ]
        let preview = try run(operations, in: vault, isPreview: true)
        #expect(preview.diff == """
            --- /dev/null
            +++ f/New.md
            @@ -0,0 +1,2 @@
            +1
            +2
            --- a.md
            +++ a.md
            @@ -1 +1 @@
            -one
            +eins
            --- b.md
            +++ /dev/null
            @@ -1 +0,0 @@
            -two

            """)
        #expect(try texts(vault) == before)
        let made = try run(operations, in: vault)
        #expect(made.change == 1 && made.files.map(\.what) == ["created", "edited", "deleted"] && made.files[2].trashed != nil)
        var after = before
        after["f/New.md"] = "1\n2\n"
        after["a.md"] = "eins\n"
        after["b.md"] = nil
        #expect(try texts(vault) == after)
        #expect(try vault.journal.entries(about: nil, limit: 10, offset: 0).total == 1)
        guard case .possible(let changes) = vault.planUndo(of: try #require(try vault.journal.entry(1))) else {
            Issue.record("the batch cannot be undone")
            return
        }
        try vault.change { _ = try vault.apply("undo", changes, undoing: 1) }
        #expect(try texts(vault) == before)
    }

    @Test(
        "of which one operation cannot be done does nothing and says which",
        arguments: [
            (["operation": "edit", "path": "a", "find": "nine", "content": "x"], "does not contain"),
            (["operation": "edit", "path": "c", "find": "nine", "content": "x"], "there is no note 'c'"),
            (["operation": "edit", "path": "binary", "content": "x"], "not UTF-8"),
            (["operation": "write", "path": "b", "content": "x"], "already a note 'b.md'"),
            (["operation": "write", "path": "New", "content": "x"], "already a note 'New.md'"),
            (["operation": "write", "path": "x?y", "content": "x"], "Obsidian and other systems refuse"),
            (["operation": "delete", "path": "b", "version": "00"], "has changed since you read it"),
            (["operation": "move", "path": "b"], "move_note"), (["operation": "edti", "path": "b"], "did you mean 'edit'"),
        ] as [(JSON, String)])
    func refused(operation: JSON, message: String) throws {
        let vault = try open()
        let before = try texts(vault)
        let error = #expect(throws: VaultError.self) {
            try run([["operation": "write", "path": "New", "content": "1\n"], operation], in: vault)
        }
        #expect(error?.message.contains("operation 2 of 2") == true && error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(error?.details?["operation"] == 2)
        #expect(try texts(vault) == before)
        #expect(try vault.journal.entries(about: nil, limit: 10, offset: 0).total == 0)
    }

    @Test("compares versions with what there was before it")
    func versions() throws {
        let vault = try open()
        let version = try vault.readText(VaultPath(trusted: "a.md")).version
        let edits: [JSON] = ["uno", "eins"].map { text in
            ["operation": "edit", "path": "a", "content": .string(text), "version": .string(version)]
        }
        _ = try run(.array(edits), in: vault)
        #expect(try texts(vault)["a.md"] == "one\nuno\neins\n")
        let error = #expect(throws: VaultError.self) { try run(.array(edits), in: vault) }
        #expect(error?.code == .aborted && error?.details?["content"] == "one\nuno\neins\n")
    }
}
