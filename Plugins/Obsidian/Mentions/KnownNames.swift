/// Which names of a vault's notes a text could have in it.
struct KnownNames {
    private let folded: [UInt8]
    private var words: Set<[UInt8]> = []

    init(_ text: String) {
        folded = Folding.bytes(text)
        var start: Int?
        for place in 0...folded.count {
            let isPart = place < folded.count && Self.isPart(folded[place])
            if isPart, start == nil { start = place }
            if !isPart, let begin = start {
                words.insert(Array(folded[begin..<place]))
                start = nil
            }
        }
    }

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
            let title = VaultPath(trusted: graph.path(node)).title
            for (number, name) in ([title] + (graph.aliases[node] ?? [])).enumerated() {
                guard let name = MentionFinder.Name(String(name.trimmed)), isIn(name.folded) else { continue }
                let isTitle = number == 0
                if isTitle, let led = resolver.resolve(title, from: path), led != graph.path(node) { continue }
                found[name.folded, default: (name, [])].nodes.insert(node)
            }
        }
        let sorted = found.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        return (sorted.map(\.value.name), sorted.map { $0.value.nodes.sorted { graph.path($0) < graph.path($1) } })
    }

    private func isIn(_ name: [UInt8]) -> Bool {
        guard name.count > 1 else { return false }
        if Self.isPart(name[0]) {
            let first = name.prefix(while: Self.isPart)
            let isAlone = first.count == name.count || name[first.count] < 0x80
            if isAlone, !words.contains(Array(first)) { return false }
        }
        return folded.firstPlace(of: name, in: folded.indices) != nil
    }
}
