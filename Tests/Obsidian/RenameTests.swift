import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

@Suite("A renamed heading")
struct HeadingRenameTests {
    private func rename(_ files: [String: String], _ heading: String, to: String, of path: String = "n.md") throws -> [String: String] {
        let scratch = try ScratchVault(files)
        let before = try scratch.contents()
        let changes = try ObsidianPlugin.headingChanges(heading, to: to, of: VaultPath(path), in: scratch.vault)
        guard !changes.isEmpty else { return before }
        let id = try #require(try scratch.vault.change { try scratch.vault.apply("rename_heading", changes).id })
        let now = try scratch.contents()
        #expect(try scratch.undo(id) == [])
        #expect(try scratch.contents() == before)
        return now
    }

    @Test("takes the links to it along, however they are written")
    func links() throws {
        let now = try rename([
            "n.md": "# One\r\n## Old: name ##  \r\nself [[#old name]] [[n#One#Old name|x]]\r\n# Two\r\n### Old\r\n",
            "s.md": "---\na: '[[n#Old name]]'\n---\n[[n#Old  NAME]] [t](n.md#Old%20name) [t](<n.md#One#Old name>) [[n#Two]] [[s#Old name]] [[n#Old]] `[[n#Old name]]`",
            "b.canvas": ##"{"nodes":[{"type":"file","file":"n.md","subpath":"#Old name"},{"type":"text","text":"[[n#Old name]]"}]}"##,
        ], "One#Old name", to: "New: | name")
        #expect(now["n.md"] == "# One\r\n## New: | name ##  \r\nself [[#New name]] [[n#One#New name|x]]\r\n# Two\r\n### Old\r\n")
        #expect(now["s.md"] == "---\na: '[[n#New name]]'\n---\n[[n#New name]] [t](n.md#New%20name) [t](<n.md#One#New name>) [[n#Two]] [[s#Old name]] [[n#Old]] `[[n#Old name]]`")
        #expect(now["b.canvas"] == ##"{"nodes":[{"type":"file","file":"n.md","subpath":"#New name"},{"type":"text","text":"[[n#New name]]"}]}"##)
    }

    @Test("that would be mistaken for another one is named with those above it, and so is the other one")
    func ambiguous() throws {
        let text = "# A\n## X\n# B\n## Y\n# C\n## Z\n"
        let now = try rename(["n.md": text, "s.md": "[[n#Y]] [[n#X]] [[n#Z]]"], "Z", to: "X")
        #expect(now["s.md"] == "[[n#Y]] [[n#X]] [[n#C#X]]")
        let other = try rename(["n.md": text, "s.md": "[[n#Y]] [[n#X]] [[n#Z]]"], "X", to: "Z")
        #expect(other["s.md"] == "[[n#Y]] [[n#Z]] [[n#C#Z]]")
        #expect(throws: VaultError.self) { try rename(["n.md": "# A\n## X\n## Y\n", "s.md": "[[n#Y]]"], "Y", to: "X") }
        let error = #expect(throws: VaultError.self) { try rename(["n.md": "# A\n## X\n# B\n## X\n"], "X", to: "Q") }
        #expect(error?.message.contains("'A#X' (## X, line 2), 'B#X' (## X, line 4)") == true)
    }

    @Test("may be underlined, in a quote, or have an id behind it, which stays")
    func kinds() throws {
        #expect(try rename(["n.md": "Old\n===\n"], "Old", to: "New")["n.md"] == "New\n===\n")
        #expect(try rename(["n.md": "> ## Old\n"], "Old", to: "New")["n.md"] == "> ## New\n")
        #expect(try rename(["n.md": "# Old ^id\n[[#Old]]"], "old", to: "New")["n.md"] == "# New ^id\n[[#New]]")
    }

    @Test(
        "to what is none, or of one that is not there, is refused",
        arguments: [("Old", ""), ("Old", " x"), ("Old", "a\nb"), ("None", "x"), ("Old", "#"), ("", "x"), ("Setext", "- x"), ("Old", "x #")])
    func refused(heading: String, to: String) throws {
        #expect(throws: VaultError.self) { try rename(["n.md": "# Old\n\nSetext\n---\n"], heading, to: to) }
    }

    @Test("or a block's id is taken along the same way")
    func blocks() throws {
        let now = try rename(["n.md": "text ^old\n\n- item ^other\n\n[[#^old]]", "s.md": "![[n#^OLD]] [[n#^other]]"], "^old", to: "^new-1")
        #expect(now == ["n.md": "text ^new-1\n\n- item ^other\n\n[[#^new-1]]", "s.md": "![[n#^new-1]] [[n#^other]]"])
        for to in ["other", "a b", ""] { #expect(throws: VaultError.self) { try rename(["n.md": "text ^old\n\n- item ^other\n"], "^old", to: to) } }
    }
}

@Suite("A renamed tag")
struct TagRenameTests {
    @Test(
        "is another wherever it is a tag, with those nested in it",
        arguments: [
            ("#a #A #a/b #ab #b/a x#a `#a` [#a](x) $#a$ <!-- #a --> https://x.y/#a", "#c/d #c/d #c/d/b #ab #b/a x#a `#a` [#a](x) $#a$ <!-- #a --> https://x.y/#a"),
            ("---\ntags: [x, a, \"a/b\", 'A'] # a\n---\n", "---\ntags: [x, c/d, \"c/d/b\"] # a\n---\n"),
            ("---\ntags:\n  - a # why\n  - \"#a/b\"\n  - C/D\n  - z\nother: [a]\n---\n#a", "---\ntags:\n  - c/d # why\n  - \"#c/d/b\"\n  - z\nother: [a]\n---\n#c/d"),
            ("---\ntags: a\n---\n", "---\ntags: c/d\n---\n"), ("---\ntags: \"a\"\r\ntag: a\r\n---\r\n", "---\ntags: \"c/d\"\r\ntag: a\r\n---\r\n"),
            ("---\ntags: \"a, b\"\n---\n#z", "---\ntags: \"a, b\"\n---\n#z"), ("---\ntags: [c/d, b, a]\n---\n", "---\ntags: [c/d, b]\n---\n"),
            ("---\ntags: [z, z, a]\n---\n", "---\ntags: [z, z, c/d]\n---\n"), ("---\ntags:\n- a\n- c/d\n---\n", "---\ntags:\n- c/d\n---\n"),
            ("---\ntags: [a\nbroken\n---\n#a", "---\ntags: [a\nbroken\n---\n#c/d"), ("%%#a%% == #a", "%%#a%% == #c/d"),
        ])
    func places(text: String, expected: String) throws {
        let made = try TagRename("a", to: "c/d").rewrite(text, path: "n.md") ?? text
        #expect(made.utf8.elementsEqual(expected.utf8), "\(made)")
    }

    @Test("gets quotes where it would be something else without")
    func quoted() throws {
        #expect(try TagRename("a", to: "true").rewrite("---\ntags: [a, b]\n---\n#a", path: "") == "---\ntags: [\"true\", b]\n---\n#true")
        #expect(try TagRename("a", to: "null").rewrite("---\ntags: a\n---\n", path: "") == "---\ntags: \"null\"\n---\n")
    }

    @Test("has a name that is a tag", arguments: ["", "#", "1", "a b", "a//b", "/a", "a/", "a#b", "a,b", "a.b", "\u{2028}"])
    func names(name: String) { #expect(throws: VaultError.self) { try TagRename.name(name, argument: "to") } }

    @Test("is renamed in the whole vault at once, and undone at once beside later edits")
    func vault() throws {
        let scratch = try ScratchVault(["n.md": "#a\n\nx\n", "m.md": "---\ntags: [a/b]\n---\n", "o.md": "#ab", "ü.md": "#Ä"])
        let changes = try ObsidianPlugin.tagChanges("A", to: "c", in: scratch.vault)
        #expect(changes.map(\.path.text) == ["m.md", "n.md"])
        let id = try #require(try scratch.vault.change { try scratch.vault.apply("rename_tag", changes).id })
        try scratch.write("n.md", "#c\n\nedited\n")
        #expect(try scratch.undo(id) == [])
        #expect(try scratch.contents() == ["n.md": "#a\n\nedited\n", "m.md": "---\ntags: [a/b]\n---\n", "o.md": "#ab", "ü.md": "#Ä"])
        #expect(try ObsidianPlugin.tagChanges("ä", to: "q", in: scratch.vault).count == 1)
        let error = #expect(throws: VaultError.self) { try ObsidianPlugin.tagChanges("abc", to: "q", in: scratch.vault) }
        #expect(error?.message.contains("did you mean '#ab'") == true)
    }
}
