import Synchronization

/// The graph of a vault: made when it is first asked for, and made to agree with what changed when it is asked again.
///
/// Whoever changes the vault says which paths, after the index knows. Only links that could lead elsewhere since are
/// resolved again; where much has changed, all of them at once.
final class GraphCache: Sendable {
    private struct Marks {
        /// Nothing is noted for a graph that nobody asked for.
        var isFollowed = false
        var paths: Set<String> = []
    }

    private let marks = Mutex(Marks())
    private let graph = Mutex<LinkGraph?>(nil)

    /// Files that came, went or were written.
    func changed(_ paths: some Collection<String>) {
        guard !paths.isEmpty else { return }
        marks.withLock { marks in if marks.isFollowed { marks.paths.formUnion(paths) } }
    }

    func current(_ vault: Vault) throws -> LinkGraph {
        try graph.withLock { graph in
            let changed = marks.withLock { marks in
                defer { marks = Marks(isFollowed: true) }
                return marks.paths
            }
            if changed.isEmpty, let graph { return graph }
            var made = graph
            graph = nil  // So that it is changed in place; and made anew after an error.
            if made == nil || changed.count > max(200, (made?.count ?? 0) / 50) {
                made = try LinkGraph(of: vault)
            } else {
                // What changes meanwhile is marked, and seen the next time.
                self.changed(try made?.follow(changed, vault) ?? [])
            }
            graph = made
            return try made ?? LinkGraph(of: vault)
        }
    }
}

extension Vault {
    /// Which file links to which, as the index knows it now.
    func linkGraph() throws -> LinkGraph { try graph.current(self) }
}

extension LinkGraph {
    /// Resolves every link of the index.
    init(of vault: Vault) throws {
        let (resolver, files) = (vault.resolver, vault.paths)
        self.init(paths: files)
        var bulk = BulkResolver(resolver, self)
        var numbers: [Int64: Node] = [:]
        try vault.index.forEachFile { id, path, aliases in
            guard let node = node(path) else { return }
            numbers[id] = node
            setAliases(aliases, of: node)
        }
        var pairs: [UInt64] = []
        var broken = [Int32](repeating: 0, count: paths.count)
        var last: (id: Int64, node: Node?) = (-1, nil)
        try vault.index.forEachLink { id, target in
            if last.id != id { last = (id, numbers[id]) }
            guard let node = last.node else { return }
            guard let target = bulk.resolve(target, from: node, of: self) else {
                broken[Int(node)] += 1
                return
            }
            if target != node { pairs.append(UInt64(node) << 32 | UInt64(target)) }
        }
        link(pairs, broken: broken)
    }

    /// Makes the graph agree with what became of some files; returns those that have to be looked at again, because
    /// others changed meanwhile.
    mutating func follow(_ changed: Set<String>, _ vault: Vault) throws -> Set<String> {
        let (resolver, files) = (vault.resolver, vault.paths)
        var stale: Set<String> = []
        for path in changed where !files.contains(path) {
            guard let node = node(path) else { continue }
            stale.formUnion(sources[node].map { self.path($0) })
            remove(node)
        }
        for path in changed where files.contains(path) {
            stale.insert(path)
            guard node(path) == nil else { continue }
            insert(path)
            for link in try vault.index.links(withKey: NoteIndex.key(ofTarget: path))
            where resolver.resolve(link.target, from: link.source) == path { stale.insert(link.source) }
        }
        var numbers: [Int64: Node] = [:]
        var links: [Node: (targets: Set<Node>, broken: Int32)] = [:]
        for path in stale { if let node = node(path) { links[node] = ([], 0) } }
        var again: Set<String> = []
        try vault.index.forEach(of: Array(stale)) { id, path, aliases in
            guard let node = node(path) else { return }
            numbers[id] = node
            setAliases(aliases, of: node)
        } link: { id, target in
            guard let source = numbers[id] else { return }
            let path = resolver.resolve(target, from: self.path(source))
            if let path, let node = node(path) {
                links[source]?.targets.insert(node)
            } else {
                links[source]?.broken += 1
                if let path { again.formUnion([path, self.path(source)]) }
            }
        }
        for (node, found) in links { link(node, to: found.targets, broken: found.broken) }
        return again
    }
}

/// Resolves many links, as ``LinkResolver`` does: a bare name that one file has is looked up once.
private struct BulkResolver {
    private let resolver: LinkResolver
    /// Notes by their folded names without `.md`; none where several have it.
    private var unique: [String: LinkGraph.Node?] = [:]
    private var known: [String: LinkGraph.Node?] = [:]

    init(_ resolver: LinkResolver, _ graph: LinkGraph) {
        self.resolver = resolver
        for node in graph.all where graph.kind(node) == .note {
            let name = String(folded(VaultPath(trusted: graph.path(node)).name).dropLast(3))
            unique.updateValue(unique.keys.contains(name) ? nil : node, forKey: name)
        }
    }

    mutating func resolve(_ target: String, from source: LinkGraph.Node, of graph: LinkGraph) -> LinkGraph.Node? {
        if let known = known[target] { return known }
        let isBare = !target.isEmpty && !target.utf8.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: ".") }
        if isBare {
            switch unique[folded(target)] {
            case .some(.some(let node)):
                known.updateValue(node, forKey: target)
                return node
            case nil:
                known.updateValue(nil, forKey: target)
                return nil
            case .some(nil): break
            }
        }
        return resolver.resolve(target, from: graph.path(source)).flatMap(graph.node)
    }
}
