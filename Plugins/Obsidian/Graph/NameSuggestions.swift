/// The existing file that a link was probably meant for.
///
/// A file of that very name in another place first, then a note that has it as an alias, which no link resolves by,
/// then the name that differs by the fewest letters; of several the first by its path.
struct NameSuggestions {
    private let graph: LinkGraph
    /// The folded names one after the other.
    private var bytes: [UInt8] = []
    private var names: [(end: Int, letters: UInt64, node: LinkGraph.Node)] = []
    /// By the hashes of names. Two names share one with no probability worth a name.
    private var byName: [Int: LinkGraph.Node] = [:]
    private var byAlias: [String: LinkGraph.Node] = [:]
    private var known: [String: LinkGraph.Node?] = [:]

    init(_ graph: LinkGraph) {
        self.graph = graph
        names.reserveCapacity(graph.count)
        byName.reserveCapacity(graph.count)
        for node in graph.all {
            let start = bytes.count
            Self.append(nameOf: graph.path(node), to: &bytes)
            let name = bytes[start...]
            names.append((bytes.count, Self.letters(name), node))
            let hash = Self.hash(name)
            byName[hash] = first(byName[hash], node)
        }
        for (node, aliases) in graph.aliases {
            for alias in aliases { byAlias[folded(alias)] = first(byAlias[folded(alias)], node) }
        }
    }

    private func first(_ one: LinkGraph.Node?, _ other: LinkGraph.Node) -> LinkGraph.Node {
        guard let one else { return other }
        return graph.path(other) < graph.path(one) ? other : one
    }

    mutating func nearest(to target: String) -> String? {
        if let known = known[target] { return known.map(graph.path) }
        var name: [UInt8] = []
        Self.append(nameOf: target, to: &name)
        let found =
            byName[Self.hash(name[...])] ?? byAlias[String(decoding: name, as: UTF8.self)] ?? byAlias[folded(target)]
            ?? misspelt(name)
        known.updateValue(found, forKey: target)
        return found.map(graph.path)
    }

    private func misspelt(_ wanted: [UInt8]) -> LinkGraph.Node? {
        guard wanted.count > 2 else { return nil }
        let letters = Self.letters(wanted[...])
        let measure = EditDistance(from: wanted)
        // In a short name a second slip makes another name.
        var least = wanted.count < 5 ? 1 : max(2, wanted.count / 4)
        var best: LinkGraph.Node?
        var start = 0
        for (end, others, node) in names {
            let name = start..<end
            start = end
            // An edit takes one letter away and adds one at most.
            guard abs(name.count - wanted.count) <= least, (letters ^ others).nonzeroBitCount <= 2 * least else {
                continue
            }
            let distance = measure.distance(to: bytes[name], limit: least + 1)
            if distance < least || distance == least && best == nil {
                (best, least) = (node, distance)
            } else if distance == least {
                best = first(best, node)
            }
        }
        return best
    }

    /// Folded, without the folder and `.md`.
    private static func append(nameOf path: String, to bytes: inout [UInt8]) {
        let start = bytes.count
        let isPlain = path.utf8.withContiguousStorageIfAvailable { path in
            for byte in path[((path.lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1)...] {
                guard byte < 0x80 else { return false }
                bytes.append(byte &- 0x41 < 26 ? byte | 0x20 : byte)
            }
            return true
        }
        if isPlain != true {
            bytes.removeSubrange(start...)
            bytes += folded(VaultPath(trusted: path).name).utf8
        }
        if bytes[start...].reversed().starts(with: "dm.".utf8) { bytes.removeLast(3) }
    }

    private static func letters(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 | 1 << UInt64($1 & 63) } }

    private static func hash(_ bytes: ArraySlice<UInt8>) -> Int {
        var hasher = Hasher()
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
        return hasher.finalize()
    }
}
