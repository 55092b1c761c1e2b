/// The existing file that a link was probably meant for.
///
/// A file of that very name in another place first, then a note that has it as an alias, which no link resolves by,
/// then the name that differs by the fewest letters.
struct NameSuggestions {
    private let graph: LinkGraph
    private var names: [(name: [UInt8], letters: UInt64, node: LinkGraph.Node)] = []
    private var byName: [String: LinkGraph.Node] = [:]
    private var byAlias: [String: LinkGraph.Node] = [:]
    private var known: [String: LinkGraph.Node?] = [:]

    init(_ graph: LinkGraph) {
        self.graph = graph
        names.reserveCapacity(graph.count)
        // By path, so that of several that are equally near it is always the same.
        for node in graph.sorted(graph.all) {
            let name = Self.name(graph.path(node))
            let bytes = Array(name.utf8)
            names.append((bytes, Self.letters(bytes), node))
            if byName[name] == nil { byName[name] = node }
            for alias in graph.aliases[node] ?? [] where byAlias[folded(alias)] == nil { byAlias[folded(alias)] = node }
        }
    }

    mutating func nearest(to target: String) -> String? {
        if let known = known[target] { return known.map(graph.path) }
        let name = Self.name(target)
        let found = byName[name] ?? byAlias[name] ?? byAlias[folded(target)] ?? misspelt(name)
        known.updateValue(found, forKey: target)
        return found.map(graph.path)
    }

    private func misspelt(_ name: String) -> LinkGraph.Node? {
        let wanted = Array(name.utf8)
        let letters = Self.letters(wanted)
        guard wanted.count > 2 else { return nil }
        // In a short name a second slip makes another name.
        var limit = wanted.count < 5 ? 2 : max(2, wanted.count / 4) + 1
        let measure = EditDistance(from: wanted)
        var best: LinkGraph.Node?
        for (candidate, others, node) in names {
            // An edit takes one letter away and adds one at most.
            guard abs(candidate.count - wanted.count) < limit, (letters ^ others).nonzeroBitCount <= 2 * (limit - 1) else { continue }
            let distance = measure.distance(to: candidate, limit: limit)
            guard distance < limit else { continue }
            (best, limit) = (node, distance)
        }
        return best
    }

    /// Folded, without the folder and `.md`.
    private static func name(_ path: String) -> String {
        let name = folded(VaultPath(trusted: path).name)
        return name.hasSuffix(".md") ? String(name.dropLast(3)) : name
    }

    private static func letters(_ bytes: [UInt8]) -> UInt64 { bytes.reduce(0) { $0 | 1 << UInt64($1 & 63) } }
}
