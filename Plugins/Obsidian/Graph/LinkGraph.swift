/// Which file links to which, over notes, canvases and what they embed.
///
/// Files have numbers here, which stay as long as the files do. A file's links to itself are left out. It is made of
/// the index once, and then follows it: see ``GraphCache``.
struct LinkGraph: Sendable {
    typealias Node = Int32

    enum Kind: UInt8, Sendable { case note, canvas, other }

    /// "" for a number that is free.
    private(set) var paths: [String] = []
    private(set) var kinds: [Kind] = []
    private(set) var targets = Adjacency()
    private(set) var sources = Adjacency()
    /// How many links of a file lead nowhere.
    private(set) var broken: [Int32] = []
    private(set) var aliases: [Node: [String]] = [:]
    private var nodes: [String: Node] = [:]
    private var free: [Node] = []

    var count: Int { nodes.count }
    var all: [Node] { paths.indices.lazy.filter { !paths[$0].isEmpty }.map(Node.init) }

    func node(_ path: String) -> Node? { nodes[path] }
    func path(_ node: Node) -> String { paths[Int(node)] }
    func kind(_ node: Node) -> Kind { kinds[Int(node)] }
    func isLinking(_ node: Node) -> Bool { kinds[Int(node)] != .other }

    // MARK: Making and changing

    init(paths: some Sequence<String>) {
        for path in paths { insert(path) }
    }

    @discardableResult
    mutating func insert(_ path: String) -> Node {
        if let node = nodes[path] { return node }
        let place = VaultPath(trusted: path)
        let kind: Kind = place.isNote ? .note : place.isCanvas ? .canvas : .other
        let node: Node
        if let unused = free.popLast() {
            node = unused
            paths[Int(node)] = path
            kinds[Int(node)] = kind
        } else {
            node = Node(paths.count)
            paths.append(path)
            kinds.append(kind)
            broken.append(0)
        }
        nodes[path] = node
        return node
    }

    mutating func remove(_ node: Node) {
        link(node, to: [], broken: 0)
        for source in sources[node] { targets.remove(node, from: source) }
        sources.set(node, [])
        aliases[node] = nil
        nodes[path(node)] = nil
        paths[Int(node)] = ""
        free.append(node)
    }

    /// All links of a graph that has none yet: pairs of source, above, and target.
    mutating func link(_ pairs: [UInt64], broken: [Int32]) {
        var pairs = pairs
        targets = Adjacency(pairs: Self.sortedOnce(&pairs), count: paths.count)
        var turned = pairs.map { $0 << 32 | $0 >> 32 }
        sources = Adjacency(pairs: Self.sortedOnce(&turned), count: paths.count)
        self.broken = broken
    }

    private static func sortedOnce(_ pairs: inout [UInt64]) -> [UInt64] {
        pairs.sort()
        var last: UInt64?
        pairs.removeAll { pair in
            defer { last = pair }
            return pair == last
        }
        return pairs
    }

    /// Where a file's links lead now.
    mutating func link(_ node: Node, to wanted: Set<Node>, broken count: Int32) {
        let now = wanted.subtracting([node]).sorted()
        let before = Array(targets[node])
        broken[Int(node)] = count
        guard now != before else { return }
        for target in before where !wanted.contains(target) { sources.remove(node, from: target) }
        for target in Set(now).subtracting(before) { sources.insert(node, into: target) }
        targets.set(node, now)
    }

    mutating func setAliases(_ names: [String], of node: Node) { aliases[node] = names.isEmpty ? nil : names }
}
