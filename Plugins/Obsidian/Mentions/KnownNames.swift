/// Which names of a vault's notes a text could have in it.
struct KnownNames {
    private let folded: [UInt8]
    /// Hashes of its words in ASCII: one that is taken for another costs a closer look.
    private var words: Set<UInt64> = []

    init(_ text: String) {
        folded = Folding.bytes(text)
        var hash = Self.seed
        for byte in folded {
            if Self.isPart(byte) {
                hash = Self.hash(hash, byte)
            } else if hash != Self.seed {
                words.insert(hash)
                hash = Self.seed
            }
        }
        words.insert(hash)
    }

    /// FNV-1a.
    private static let seed: UInt64 = 0xCBF2_9CE4_8422_2325
    private static func hash(_ hash: UInt64, _ byte: UInt8) -> UInt64 { (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }

    /// Of a word in ASCII. Whatever is beyond it is looked for directly.
    private static func isPart(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte) }

    /// The names that stand in the text, perhaps in a link, and the notes each may mean: the one that a link of that
    /// name leads to, and all that have it as an alias. Single letters and digits are no names here.
    func names(
        of graph: LinkGraph, except path: String, resolver: LinkResolver, check: () throws -> Void
    ) throws -> (names: [MentionFinder.Name], nodes: [[LinkGraph.Node]]) {
        var found: [[UInt8]: (name: MentionFinder.Name, nodes: Set<LinkGraph.Node>)] = [:]
        for node in graph.all where graph.kind(node) == .note && graph.path(node) != path {
            try check()
            let aliases = graph.aliases[node] ?? []
            guard !aliases.isEmpty || mayHave(nameOf: graph.path(node)) else { continue }
            let title = VaultPath(trusted: graph.path(node)).title
            for (number, name) in ([title] + aliases).enumerated() {
                guard let name = MentionFinder.Name(String(name.trimmed)), isIn(name.folded) else { continue }
                let isTitle = number == 0
                if isTitle, let led = resolver.resolve(title, from: path), led != graph.path(node) { continue }
                found[name.folded, default: (name, [])].nodes.insert(node)
            }
        }
        let sorted = found.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        return (sorted.map(\.value.name), sorted.map { $0.value.nodes.sorted { graph.path($0) < graph.path($1) } })
    }

    /// False only where the first word of a file's name, in ASCII, is not in the text.
    private func mayHave(nameOf path: String) -> Bool {
        path.utf8.withContiguousStorageIfAvailable { bytes in
            var hash = Self.seed
            for byte in bytes[((bytes.lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1)...] {
                let low = byte &- 0x41 < 26 ? byte | 0x20 : byte
                guard Self.isPart(low) else { return byte >= 0x80 || hash == Self.seed || words.contains(hash) }
                hash = Self.hash(hash, low)
            }
            return true
        } ?? true
    }

    private func isIn(_ name: [UInt8]) -> Bool {
        guard name.count > 1 else { return false }
        return folded.firstPlace(of: name, in: folded.indices) != nil
    }
}
