import KnapPlugin

/// note_graph.
extension ObsidianPlugin {
    struct GraphInput: Codable, Sendable {
        enum Question: String, Codable, Sendable { case neighbours, path, orphans, broken, unused }

        var find: Question?
        var path: String?
        var to: String?
        var direction: GraphWalk.Direction?
        var depth: Int?
        var attachments: Bool?
        var no_backlinks: Bool?
        var limit: Int?
        var offset: Int?
        var max_tokens: Int?
        var vault: String?
    }

    struct GraphOutput: Codable, Sendable {
        struct Neighbour: Codable, Sendable {
            var path: String
            var distance: Int
            /// How the file one step nearer links to it.
            var link: GraphWalk.Direction
            /// That file, where it is not the one that was asked about.
            var from: String?
        }
        struct Path: Codable, Sendable {
            var files: [String]
            /// How each links to the next.
            var links: [GraphWalk.Direction]
        }
        struct Broken: Codable, Sendable {
            var path: String
            var line: Int
            var link: String
            /// What it was probably meant for.
            var nearest: String?
        }
        var find: GraphInput.Question
        var path: String?
        var to: String?
        var total: Int
        /// How many there are at each distance from 1.
        var at_distance: [Int]?
        var notes: [Neighbour]?
        /// How many links each of the paths has.
        var length: Int?
        var paths: [Path]?
        struct Named: Codable, Sendable {
            var path: String
            var `in`: String
        }
        var broken: [Broken]?
        var files: [String]?
        /// Unused files that a note names all the same, in HTML or a property for instance, and the first that does.
        var named: [Named]?
        var next_offset: Int?
        var indexing: Indexing?
    }

    func graph(_ input: GraphInput, _ call: Call) throws -> GraphOutput {
        let vault = try vaults.vault(input.vault, call)
        let find = input.find ?? (input.to != nil ? .path : .neighbours)
        return switch find {
        case .neighbours: try neighbours(input, call, vault)
        case .path: try paths(input, call, vault)
        case .orphans, .unused: try loose(input, find, vault)
        case .broken: try broken(input, call, vault)
        }
    }

    private static func required(_ text: String?, _ argument: String, _ why: String) throws(VaultError) -> String {
        guard let text else { throw VaultError(.invalidArgument, "the argument '\(argument)' is required: \(why)") }
        return text
    }

    /// A file's place in the graph, which has each that the vault has but for one that came just now.
    private static func place(_ text: String, _ argument: String, _ graph: LinkGraph, _ vault: Vault) throws
        -> LinkGraph.Node
    {
        let path = try vault.find(text, argument: argument)
        guard let node = graph.node(path.text) else {
            throw VaultError(.unavailable, "'\(path)' is not indexed yet; try again")
        }
        return node
    }

    private func neighbours(_ input: GraphInput, _ call: Call, _ vault: Vault) throws -> GraphOutput {
        let page = try Page(limit: input.limit, offset: input.offset, standard: 100, most: 1000)
        let depth = input.depth ?? 1
        guard (1...20).contains(depth) else {
            throw VaultError(.invalidArgument, "depth must be between 1 and 20, not \(depth)")
        }
        let name = try Self.required(input.path, "path", "the note whose neighbours are wanted")
        let graph = try vault.linkGraph()
        let start = try Self.place(name, "path", graph, vault)
        let walk = GraphWalk(
            graph, throughAttachments: input.attachments ?? false, excluding: vault.excludedFiles, check: WalkPatience(call).check)
        let found = try walk.neighbours(of: start, depth: depth, input.direction ?? .both)
        var budget = try TokenBudget(input.max_tokens)
        let all = found.dropFirst(page.offset).prefix(page.limit).map { each in
            GraphOutput.Neighbour(
                path: graph.path(each.node), distance: each.distance, link: walk.link(each.from, each.node) ?? .both,
                from: each.from == start ? nil : graph.path(each.from))
        }
        let shown = budget.fitting(all) { $0.path.utf8.count + ($0.from?.utf8.count ?? 0) + 40 }
        return GraphOutput(
            find: .neighbours, path: graph.path(start), total: found.count,
            at_distance: (1...depth).map { distance in found.count { $0.distance == distance } }, notes: shown,
            next_offset: page.next(shown: shown.count, of: found.count), indexing: Indexing(vault))
    }

    private func paths(_ input: GraphInput, _ call: Call, _ vault: Vault) throws -> GraphOutput {
        let page = try Page(limit: input.limit, offset: input.offset, standard: 3, most: 50)
        guard page.offset <= 1000 else { throw VaultError(.invalidArgument, "offset must be at most 1000 for paths") }
        let graph = try vault.linkGraph()
        let start = try Self.place(
            Self.required(input.path, "path", "the note where the path begins"), "path", graph, vault)
        let end = try Self.place(Self.required(input.to, "to", "the note where the path ends"), "to", graph, vault)
        let walk = GraphWalk(
            graph, throughAttachments: input.attachments ?? false, excluding: vault.excludedFiles, check: WalkPatience(call).check)
        let found = try walk.shortestPaths(
            from: start, to: end, input.direction ?? .both, most: page.offset + page.limit)
        let paths = (found?.paths ?? []).dropFirst(page.offset).map { nodes in
            GraphOutput.Path(
                files: nodes.map(graph.path), links: zip(nodes, nodes.dropFirst()).map { walk.link($0, $1) ?? .both })
        }
        var budget = try TokenBudget(input.max_tokens)
        let shown = budget.fitting(paths) { $0.files.reduce(20) { $0 + $1.utf8.count + 10 } }
        return GraphOutput(
            find: .path, path: graph.path(start), to: graph.path(end), total: found?.total ?? 0,
            length: found?.paths.first.map { $0.count - 1 }, paths: shown,
            next_offset: page.next(shown: shown.count, of: found?.total ?? 0), indexing: Indexing(vault))
    }

    private func loose(_ input: GraphInput, _ find: GraphInput.Question, _ vault: Vault) throws -> GraphOutput {
        let page = try Page(limit: input.limit, offset: input.offset, standard: 100, most: 1000)
        let graph = try vault.linkGraph()
        let scope = try GraphScope(input.path, graph)
        let excluded = vault.excludedFiles
        let found = scope.sorted(
            find == .unused ? graph.unused : graph.orphans(noBacklinks: input.no_backlinks ?? false)
        ).filter { !excluded.contains(graph.path($0)) }
        var budget = try TokenBudget(input.max_tokens)
        let shown = budget.fitting(found.dropFirst(page.offset).prefix(page.limit).map(graph.path)) {
            $0.utf8.count + 2
        }
        let named = try (find == .unused ? shown : []).compactMap { path in
            try vault.index.notesNaming([VaultPath(trusted: path).name], most: 1).first.map {
                GraphOutput.Named(path: path, in: $0)
            }
        }
        return GraphOutput(
            find: find, path: scope.name, total: found.count, files: shown, named: named.isEmpty ? nil : named,
            next_offset: page.next(shown: shown.count, of: found.count), indexing: Indexing(vault))
    }

    private func broken(_ input: GraphInput, _ call: Call, _ vault: Vault) throws -> GraphOutput {
        let page = try Page(limit: input.limit, offset: input.offset, standard: 50, most: 500)
        let patience = WalkPatience(call)
        let graph = try vault.linkGraph()
        let scope = try GraphScope(input.path, graph)
        let excluded = vault.excludedFiles
        let sources = scope.sorted(graph.all.filter { graph.broken[Int($0)] > 0 }).filter { !excluded.contains(graph.path($0)) }
        let total = sources.reduce(0) { $0 + Int(graph.broken[Int($1)]) }
        var before = 0
        var links: [NoteIndex.StoredLink] = []
        for source in sources where before < page.offset + page.limit {
            let count = Int(graph.broken[Int(source)])
            defer { before += count }
            guard before + count > page.offset else { continue }
            let path = graph.path(source)
            let nowhere = try vault.index.links(from: path).filter { vault.resolve($0.target, from: path) == nil }
            links += nowhere.dropFirst(max(0, page.offset - before))
        }
        var suggestions: NameSuggestions?
        var budget = try TokenBudget(input.max_tokens)
        let shown = try budget.fitting(
            links.prefix(page.limit).map { link in
                try patience.check()
                var made = suggestions ?? NameSuggestions(graph)
                suggestions = nil  // So that it is changed in place.
                defer { suggestions = made }
                let target = link.kind == NoteLink.Kind.file.name ? String(link.target.dropFirst()) : link.target
                return GraphOutput.Broken(
                    path: link.source, line: link.line + 1, link: target + link.subpath,
                    nearest: made.nearest(to: target))
            }
        ) { $0.path.utf8.count + $0.link.utf8.count + ($0.nearest?.utf8.count ?? 0) + 50 }
        return GraphOutput(
            find: .broken, path: scope.name, total: total, broken: shown,
            next_offset: page.next(shown: shown.count, of: total), indexing: Indexing(vault))
    }
}

/// Which files a question about the whole graph is about: all, those of a folder, or one.
struct GraphScope {
    private let graph: LinkGraph
    private var file: LinkGraph.Node?
    private var folder: String?

    /// What was asked for, as it is in the vault.
    var name: String? { file.map(graph.path) ?? folder }

    init(_ text: String?, _ graph: LinkGraph) throws(VaultError) {
        self.graph = graph
        guard let text, !text.isEmpty, text != "/" else { return }
        let path = try VaultPath(text.hasSuffix("/") ? String(text.dropLast()) : text)
        file = graph.node(path.text) ?? graph.node(path.asNote.text)
        guard file == nil else { return }
        let prefix = folded(path.text) + "/"
        guard let example = graph.all.first(where: { folded(graph.path($0)).hasPrefix(prefix) }) else {
            let known = Set(graph.all.map { VaultPath(trusted: graph.path($0)).folder }).union(
                graph.all.map(graph.path))
            let hint = nearest(to: path.text, among: known.sorted()).map { "; did you mean '\($0)'?" } ?? ""
            throw VaultError(.notFound, "there is no note or folder '\(text)' in the vault\(hint)")
        }
        folder = String(graph.path(example).prefix(path.text.count))
    }

    /// Those of the files that are meant, by path.
    func sorted(_ nodes: [LinkGraph.Node]) -> [LinkGraph.Node] {
        if let file { return nodes.contains(file) ? [file] : [] }
        return graph.sorted(nodes, in: folder)
    }
}

/// How long a way through the graph may be looked for: until its caller gives up, and no longer than people wait.
struct WalkPatience {
    private let call: Call
    private let end = ContinuousClock.now + .seconds(10)

    init(_ call: Call) { self.call = call }

    func check() throws {
        guard !call.isCancelled else { throw CancellationError() }
        guard ContinuousClock.now < end else {
            throw VaultError(.deadlineExceeded, "it took more than 10 seconds; ask for less with limit, depth or path")
        }
    }
}
