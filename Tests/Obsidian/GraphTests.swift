import Glibc
import KnapJSON
import TestSupport
import Testing

@testable import Obsidian

@Suite("The graph")
struct GraphTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open() throws -> Vault {
        mkdir(folder.path + "/vault", 0o755)
        let vault = try Vault(
            root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite",
            journalPath: folder.path + "/history.sqlite")
        try vault.synchronize { false }
        return vault
    }

    private func open(_ notes: [String: String]) throws -> Vault {
        let vault = try open()
        for (path, text) in notes.sorted(by: { $0.key < $1.key }) { try write(path, text, vault) }
        return vault
    }

    private func write(_ path: String, _ text: String, _ vault: Vault) throws {
        let place = VaultPath(trusted: path)
        let before = try? vault.files.read(place).bytes
        try vault.change { _ = try vault.apply("write", [.write(place, before: before, after: Array(text.utf8))]) }
    }

    /// The graph as its files say it, found without the index and without what is remembered.
    private struct Oracle {
        var targets: [String: Set<String>] = [:]
        var broken: [String: Int] = [:]
        let paths: Set<String>

        init(_ vault: Vault) {
            paths = vault.paths
            let resolver = LinkResolver(paths: paths)
            for path in paths where VaultPath(trusted: path).isLinking {
                guard let text = try? vault.readText(VaultPath(trusted: path)).text else { continue }
                let note = NoteParser.parse(text)
                let links =
                    VaultPath(trusted: path).isCanvas
                    ? Canvas.read(text)?.links ?? [] : note.links + (note.frontMatter?.links ?? [])
                for link in links {
                    if let target = resolver.resolve(link.target, from: path) {
                        targets[path, default: []].insert(target)
                    } else {
                        broken[path, default: 0] += 1
                    }
                }
                targets[path]?.remove(path)
            }
        }

        func sources(_ path: String) -> Set<String> { Set(targets.filter { $0.value.contains(path) }.keys) }

        func next(_ path: String, _ direction: GraphWalk.Direction) -> Set<String> {
            switch direction {
            case .out: targets[path] ?? []
            case .in: sources(path)
            case .both: (targets[path] ?? []).union(sources(path))
            }
        }

        func distances(from start: String, _ direction: GraphWalk.Direction) -> [String: Int] {
            var distances = [start: 0]
            var queue = [start][...]
            while let path = queue.popFirst() {
                for other in next(path, direction) where distances[other] == nil && VaultPath(trusted: other).isLinking
                {
                    distances[other] = distances[path]! + 1
                    queue.append(other)
                }
            }
            return distances
        }

        func paths(from start: String, to end: String, _ direction: GraphWalk.Direction) -> [[String]] {
            let distances = distances(from: start, direction)
            guard let length = distances[end] else { return [] }
            var paths = [[start]]
            for step in 0..<length {
                paths = paths.flatMap { path in
                    next(path[step], direction).filter { distances[$0] == step + 1 }.map { path + [$0] }
                }
            }
            return paths.filter { $0.last == end }.sorted { $0.lexicographicallyPrecedes($1) }
        }
    }

    private func agrees(_ vault: Vault, _ where: String) throws {
        let graph = try vault.linkGraph()
        let oracle = Oracle(vault)
        #expect(Set(graph.all.map(graph.path)) == oracle.paths, "\(`where`)")
        for node in graph.all {
            let path = graph.path(node)
            #expect(
                graph.targets[node].map(graph.path).sorted() == (oracle.targets[path] ?? []).sorted(),
                "targets of \(path), \(`where`)")
            #expect(
                graph.sources[node].map(graph.path).sorted() == oracle.sources(path).sorted(),
                "sources of \(path), \(`where`)")
            #expect(Int(graph.broken[Int(node)]) == oracle.broken[path] ?? 0, "broken links of \(path), \(`where`)")
        }
    }

    @Test(
        "is what the files say after any changes, and its answers are those of a plain search",
        arguments: 1...12 as ClosedRange<UInt64>)
    func followsChanges(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let vault = try open()
        let folders = ["", "a/", "a/b/", "c/"]
        let names = ["One", "Two", "Three", "Four", "Ärger", "one", "Five.5", "Six"]
        func pick(_ list: [String]) -> String { list[Int(random.next() % UInt64(list.count))] }
        func path() -> String {
            pick(folders) + pick(names) + pick([".md", ".md", ".md", ".md", ".canvas", ".png"])
        }
        func link() -> String {
            let target =
                pick(["", "", "", "/", "./", "../", "a/", "b/"]) + pick(names)
                + pick(["", "", ".md", ".png", ".canvas", "#H", "|x"])
            switch random.next() % 4 {
            case 0: return "![[\(target)]]"
            case 1: return "[x](\(target.replacing("|", with: "")))"
            default: return "[[\(target)]]"
            }
        }
        func text(_ path: String) -> String {
            let links = (0..<random.next() % 4).map { _ in link() }
            guard path.hasSuffix(".canvas") else {
                let front =
                    random.next() % 3 == 0
                    ? "---\nup: \"[[\(pick(names))]]\"\naliases: [\(pick(names)) too]\n---\n" : ""
                return front + "# H\n" + links.joined(separator: "\n") + "\n[[#H]] `[[One]]`\n"
            }
            let nodes: [JSON] = [
                [
                    "id": "1", "type": "file", "file": .string(pick(folders) + pick(names) + ".md"), "x": 0, "y": 0,
                    "width": 1, "height": 1,
                ],
                [
                    "id": "2", "type": "text", "text": .string(links.joined(separator: " ")), "x": 0, "y": 0,
                    "width": 1, "height": 1,
                ],
            ]
            return JSON.object(["nodes": .array(nodes), "edges": []]).serialized()
        }
        for step in 0..<60 {
            let known = vault.paths.sorted()
            switch random.next() % 10 {
            case 0..<6:
                for _ in 0...random.next() % 3 {
                    let path = path()
                    try write(path, text(path), vault)
                }
            case 6 where !known.isEmpty:
                let victim = pick(known)
                try folder.run("rm", folder.path + "/vault/" + victim)
                try vault.refresh([victim])
            case 7 where !known.isEmpty:
                let from = pick(known)
                let to = pick(folders) + "Moved\(step)." + (from.split(separator: ".").last ?? "")
                try vault.change {
                    _ = try ObsidianPlugin.move(VaultPath(trusted: from), VaultPath(trusted: to), in: vault)
                }
            case 8:
                // As a program does that the vault knows nothing of.
                let path = path()
                try folder.run("mkdir", "-p", folder.path + "/vault/" + VaultPath(trusted: path).folder)
                let file = try #require(fopen(folder.path + "/vault/" + path, "w"))
                fputs(text(path), file)
                fclose(file)
                try vault.synchronize { false }
            default: break
            }
            // Sometimes several changes are followed at once.
            if random.next() % 3 > 0 { try agrees(vault, "seed \(seed), step \(step)") }
        }
        try agrees(vault, "seed \(seed), end")
        try answersAgree(vault, "seed \(seed)")
    }

    private func answersAgree(_ vault: Vault, _ where: String) throws {
        let graph = try vault.linkGraph()
        let oracle = Oracle(vault)
        let walk = GraphWalk(graph)
        func nodes(_ include: (String) -> Bool) -> [String] { oracle.paths.filter(include).sorted() }
        for start in graph.all {
            for direction in GraphWalk.Direction.allCases {
                let path = graph.path(start)
                let near = oracle.distances(from: path, direction).filter { (1...2).contains($0.value) }
                let found = try walk.neighbours(of: start, depth: 2, direction)
                #expect(
                    found.map { graph.path($0.node) } == near.keys.sorted { (near[$0]!, $0) < (near[$1]!, $1) },
                    "\(path) \(direction) \(`where`)")
                for each in found { #expect(near[graph.path(each.node)] == each.distance) }
                for end in graph.all.prefix(12) {
                    let expected = oracle.paths(from: path, to: graph.path(end), direction)
                    // An attachment may be the end of a path.
                    guard graph.isLinking(end) || end == start else { continue }
                    let found = try walk.shortestPaths(from: start, to: end, direction, most: 4)
                    #expect(
                        found?.total ?? 0 == expected.count, "\(path) to \(graph.path(end)) \(direction) \(`where`)")
                    #expect((found?.paths ?? []).map { $0.map(graph.path) } == Array(expected.prefix(4)), "\(`where`)")
                }
            }
        }
        func isNote(_ path: String) -> Bool { VaultPath(trusted: path).isNote }
        #expect(
            graph.sorted(graph.orphans(noBacklinks: true)).map(graph.path)
                == nodes { isNote($0) && oracle.sources($0).isEmpty })
        #expect(
            graph.sorted(graph.orphans(noBacklinks: false)).map(graph.path)
                == nodes { path in
                    isNote(path) && oracle.sources(path).isEmpty && oracle.broken[path] == nil
                        && !(oracle.targets[path] ?? []).contains { VaultPath(trusted: $0).isLinking }
                })
        #expect(
            graph.sorted(graph.unused).map(graph.path)
                == nodes { !VaultPath(trusted: $0).isLinking && !$0.hasSuffix(".base") && oracle.sources($0).isEmpty })
    }

    @Test("agrees with the files of a real vault", .enabled(if: TestData.isThere), arguments: ["docs", "Tasks-Demo"])
    func realVaults(name: String) throws {
        try folder.run("cp", "-r", try TestData.vault(name), folder.path + "/vault")
        try folder.run("chmod", "-R", "u+w", folder.path + "/vault")
        let vault = try open()
        try agrees(vault, name)
        try answersAgree(vault, name)
    }

    @Test("a path leads through links either way or one, and several are told apart")
    func paths() throws {
        let vault = try open([
            "A.md": "[[B]] [[C]]", "B.md": "[[D]]", "C.md": "[[D]]", "D.md": "", "E.md": "[[D]]",
            "Lone.md": "![[x.png]]", "x.png": "",
            "F.md": "![[x.png]]",
        ])
        let graph = try vault.linkGraph()
        let node = { (name: String) in try #require(graph.node(name)) }
        func paths(_ from: String, _ to: String, _ direction: GraphWalk.Direction, _ walk: GraphWalk) throws
            -> [String]?
        {
            try walk.shortestPaths(from: node(from), to: node(to), direction, most: 9)?.paths
                .map { $0.map { VaultPath(trusted: graph.path($0)).title }.joined(separator: " ") }
        }
        let walk = GraphWalk(graph)
        #expect(try paths("A.md", "E.md", .both, walk) == ["A B D E", "A C D E"])
        #expect(try paths("A.md", "E.md", .out, walk) == nil)
        #expect(try paths("A.md", "D.md", .out, walk) == ["A B D", "A C D"])
        #expect(try paths("D.md", "A.md", .in, walk) == ["D B A", "D C A"])
        #expect(try paths("A.md", "A.md", .both, walk) == ["A"])
        // Two notes with one picture have nothing else in common.
        #expect(try paths("Lone.md", "F.md", .both, walk) == nil)
        #expect(try paths("Lone.md", "F.md", .both, GraphWalk(graph, throughAttachments: true)) == ["Lone x F"])
        #expect(try paths("Lone.md", "x.png", .both, walk) == ["Lone x"])
        // Obsidian's graph shows no pictures, so a note with nothing else hangs by nothing.
        #expect(graph.sorted(graph.orphans(noBacklinks: false)).map(graph.path) == ["F.md", "Lone.md"])
    }

    @Test("a broken link is answered with what was probably meant: another folder, an alias, or a slip of the pen")
    func suggestions() throws {
        let vault = try open([
            "Garden/Tomatoes.md": "---\naliases: [Love apples]\n---\n", "Garden/Beans.md": "", "Soil.md": "",
            "Archive/Soils and stones.md": "", "Ärger.md": "",
            "Root.md": "", "Archive/Root.md": "", "Roof.md": "",
        ])
        var suggestions = NameSuggestions(try vault.linkGraph())
        #expect(suggestions.nearest(to: "Kitchen/Tomatoes") == "Garden/Tomatoes.md")
        #expect(suggestions.nearest(to: "love apples") == "Garden/Tomatoes.md")
        #expect(suggestions.nearest(to: "Tomatos") == "Garden/Tomatoes.md")
        #expect(suggestions.nearest(to: "Baens") == "Garden/Beans.md")
        #expect(suggestions.nearest(to: "Soil ") == "Soil.md")
        #expect(suggestions.nearest(to: "Electricity") == nil)
        #expect(suggestions.nearest(to: "ÄRGR") == "Ärger.md")
        // Of several that are equally near the first by its path.
        #expect(suggestions.nearest(to: "Rooz") == "Archive/Root.md")
        #expect(suggestions.nearest(to: "x/ROOT.md") == "Archive/Root.md")
    }
}

@Suite("The distance of two names")
struct EditDistanceTests {
    @Test("is Levenshtein's", arguments: 1...8 as ClosedRange<UInt64>)
    func distances(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<3000 {
            let texts = (0..<2).map { _ in (0..<random.next() % 80).map { _ in UInt8(random.next() % 3) } }
            let limit = Int(1 + random.next() % 80)
            let found = EditDistance(from: texts[0]).distance(to: texts[1][...], limit: limit)
            #expect(found == editDistance(texts[0], texts[1], limit: limit), "seed \(seed), \(texts), \(limit)")
        }
    }
}

@Suite("Lists of numbers")
struct AdjacencyTests {
    @Test("are what plain lists are, however they were changed", arguments: 1...6 as ClosedRange<UInt64>)
    func changes(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var plain = [Set<Int32>](repeating: [], count: 40)
        var pairs: Set<UInt64> = []
        for _ in 0..<100 {
            let (list, value) = (random.next() % 30, random.next() % 30)
            plain[Int(list)].insert(Int32(value))
            pairs.insert(list << 32 | value)
        }
        var lists = Adjacency(pairs: pairs.sorted(), count: 30)
        for _ in 0..<5000 {
            let (list, value) = (Int32(random.next() % 40), Int32(random.next() % 30))
            switch random.next() % 4 {
            case 0: (_, _) = (plain[Int(list)].insert(value), lists.insert(value, into: list))
            case 1: (_, _) = (plain[Int(list)].remove(value), lists.remove(value, from: list))
            case 2:
                plain[Int(list)] = [value, 3]
                lists.set(list, plain[Int(list)].sorted())
            default: #expect(lists.contains(value, in: list) == plain[Int(list)].contains(value))
            }
        }
        // Enough of them that they are gathered into one piece.
        for list in Int32(100)..<1400 { lists.set(list, [list]) }
        for list in 0..<40 { #expect(Array(lists[Int32(list)]) == plain[list].sorted(), "seed \(seed)") }
        for list in Int32(100)..<1400 { #expect(Array(lists[list]) == [list]) }
        #expect(Array(lists[5000]).isEmpty)
    }
}
