import Glibc
import TestSupport
import Testing

@testable import Obsidian

@Suite("A canvas")
struct CanvasTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private static let canvas = """
        {
        \t"nodes":[
        \t\t{"id":"a","type":"file","file":"sub/One.md","subpath":"#Part \\u00e9","x":0,"own":[{"file":"no.md"}, 1e3]},
        \t\t{"id":"b","type":"text","text":"See [[One|it]] and\\n[two](../Two.md), ![[pic.png]]","color":"1"},
        \t\t{"id":"c","type":"group","label":"[[no]]"}, {"id":"d","type":"link","url":"https://example.org"},
        \t\t{"id":"e","type":"file","file":"Gone.md"}
        \t],
        \t"edges":[{"id":"f","fromNode":"a","toNode":"b","label":"[[no]]"}]
        }
        """

    private func open(_ files: [String: String]) throws -> Vault {
        mkdir(folder.path + "/vault", 0o755)
        let vault = try Vault(
            root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite",
            journalPath: folder.path + "/history.sqlite")
        for (path, text) in files {
            _ = try vault.files.apply([.write(try VaultPath(path), before: nil, after: Array(text.utf8))], id: "test")
        }
        try vault.synchronize { false }
        return vault
    }

    private func vault() throws -> Vault {
        try open([
            "boards/Board.canvas": Self.canvas, "sub/One.md": "# Part é\n[[Board.canvas]]", "Two.md": "",
            "pic.png": "x", "other/Gone.md": "",
        ])
    }

    @Test("has links in its file nodes and in the text of its text nodes")
    func links() throws {
        let links = try #require(Canvas.read(Self.canvas)).links
        #expect(
            links.map { $0.target + $0.subpath } == ["/sub/One.md#Part é", "One", "../Two.md", "pic.png", "/Gone.md"])
        #expect(links.map(\.line) == [2, 3, 3, 3, 5])
    }

    @Test("has its links in the graph, and is no note")
    func graph() throws {
        let vault = try vault()
        #expect(
            try vault.backlinks(to: "sub/One.md").map { "\($0.path):\($0.line)" } == [
                "boards/Board.canvas:3", "boards/Board.canvas:4",
            ])
        #expect(try vault.backlinks(to: "Two.md").map(\.path) == ["boards/Board.canvas"])
        #expect(try vault.backlinks(to: "boards/Board.canvas").map(\.path) == ["sub/One.md"])
        // A file node is a whole path, and finds no note of that name elsewhere.
        #expect(try vault.backlinks(to: "other/Gone.md").isEmpty)
        let outgoing = try vault.index.links(from: "boards/Board.canvas").map {
            vault.resolve($0.target, from: $0.source)
        }
        #expect(outgoing == ["sub/One.md", "sub/One.md", "Two.md", "pic.png", nil])
        #expect(try vault.index.count() == 3)
        #expect(vault.progress == Vault.Progress(done: 3, total: 3, isComplete: true))
        #expect(try vault.index.search(SearchQuery("See"), folder: nil, limit: 10, offset: 0).total == 0)
    }

    @Test("follows notes that move, and keeps every other byte")
    func moves() throws {
        let vault = try vault()
        let board = try VaultPath("boards/Board.canvas")
        let updated = try vault.change {
            try ObsidianPlugin.move(VaultPath("sub/One.md"), VaultPath("New \"1\".md"), in: vault)
        }
        #expect(updated.updated == ["boards/Board.canvas"])
        let moved = Self.canvas.replacing("\"sub/One.md\"", with: "\"New \\\"1\\\".md\"").replacing(
            "[[One|it]]", with: "[[New \\\"1\\\"|it]]")
        #expect(try vault.readText(board).text == moved)
        #expect(try vault.backlinks(to: "New \"1\".md").count == 2)
        _ = try vault.change { try ObsidianPlugin.move(board, VaultPath("a/b/Board.canvas"), in: vault) }
        #expect(try vault.readText(VaultPath("a/b/Board.canvas")).text == moved.replacing("../Two.md", with: "Two.md"))
        #expect(try vault.backlinks(to: "Two.md").map(\.path) == ["a/b/Board.canvas"])
        let gone = try VaultPath("a/b/Board.canvas")
        try vault.change { _ = try vault.apply("delete", [.delete(gone, before: try vault.files.read(gone).bytes)]) }
        #expect(try vault.backlinks(to: "Two.md").isEmpty)
    }

    @Test(
        "that is not one has no links",
        arguments: [
            "", "{", "[]", "{\"nodes\":{}}",
            "{\"nodes\":[1,[],{\"type\":\"file\"},{\"type\":\"text\",\"text\":[\"[[a]]\"]}]}", "null", "\"nodes\"",
        ])
    func others(text: String) { #expect(Canvas.read(text)?.links.isEmpty != false) }

    @Test("of the demo vault is among the backlinks of its note", .enabled(if: TestData.isThere))
    func demo() throws {
        let path = "Manual Testing/Frontmatter/Frontmatter code.canvas"
        let text = try String(decoding: TestData.read(TestData.vault("Tasks-Demo") + "/" + path), as: UTF8.self)
        let vault = try open([path: text, "Manual Testing/Frontmatter/Tags in Frontmatter.md": ""])
        let backlinks = try vault.backlinks(to: "Manual Testing/Frontmatter/Tags in Frontmatter.md")
        #expect(backlinks.map { "\($0.path):\($0.line)" } == ["\(path):3"])
    }
}
