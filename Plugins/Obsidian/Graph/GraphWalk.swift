/// Ways through the graph. All answers come in one order, whatever the numbers of the files are.
struct GraphWalk {
    /// Along which links: from a file to what it links to, back from there, or either.
    enum Direction: String, Sendable, CaseIterable, Codable {
        case out, `in`, both

        var reversed: Direction {
            switch self {
            case .out: .in
            case .in: .out
            case .both: .both
            }
        }
    }

    typealias Node = LinkGraph.Node

    let graph: LinkGraph
    /// Whether ways lead through files that are neither note nor canvas.
    let throughAttachments: Bool
    /// Ways neither lead through these nor to them, but for where one begins or ends.
    private let excluded: ExcludedFiles
    private let check: () throws -> Void

    /// `check` is called again and again, and throws to end what takes too long.
    init(
        _ graph: LinkGraph, throughAttachments: Bool = false, excluding excluded: ExcludedFiles = .none,
        check: @escaping () throws -> Void = {}
    ) {
        self.graph = graph
        self.throughAttachments = throughAttachments
        self.excluded = excluded
        self.check = check
    }

    func next(_ node: Node, _ direction: Direction) -> [Node] {
        switch direction {
        case .out: Array(graph.targets[node])
        case .in: Array(graph.sources[node])
        case .both: Array(graph.targets[node]) + graph.sources[node].filter { !graph.targets.contains($0, in: node) }
        }
    }

    /// How the one links to the other; nil when neither links to the other.
    func link(_ from: Node, _ to: Node) -> Direction? {
        switch (graph.targets.contains(to, in: from), graph.targets.contains(from, in: to)) {
        case (true, true): .both
        case (true, false): .out
        case (false, true): .in
        case (false, false): nil
        }
    }

    // MARK: Neighbours

    struct Neighbour: Sendable, Equatable {
        var node: Node
        var distance: Int
        /// The file one step nearer: the first by its path.
        var from: Node
    }

    /// Those within a distance, nearest first, and by path among those that are equally far.
    func neighbours(of start: Node, depth: Int, _ direction: Direction) throws -> [Neighbour] {
        var isFound = [Bool](repeating: false, count: graph.paths.count)
        isFound[Int(start)] = true
        var found: [Neighbour] = []
        var level = [start]
        for distance in stride(from: 1, through: depth, by: 1) where !level.isEmpty {
            var reached: [Neighbour] = []
            for node in level {
                try check()
                for other in next(node, direction) where !isFound[Int(other)] && allows(other) {
                    isFound[Int(other)] = true
                    reached.append(Neighbour(node: other, distance: distance, from: node))
                }
            }
            reached.sort { graph.path($0.node) < graph.path($1.node) }
            found += reached
            level = reached.map(\.node)
        }
        return found
    }

    private func allows(_ node: Node) -> Bool {
        (throughAttachments || graph.isLinking(node)) && (excluded.isEmpty || !excluded.contains(graph.path(node)))
    }

    // MARK: Paths

    struct Paths: Sendable, Equatable {
        /// The first of them by the paths of their files.
        var paths: [[Node]]
        /// How many there are of this length; no more than `Int.max` are counted.
        var total: Int
    }

    /// The shortest paths from one file to another; nil when there is none.
    func shortestPaths(from start: Node, to end: Node, _ direction: Direction, most: Int) throws -> Paths? {
        let distances = try distances(to: end, from: start, direction)
        guard distances[Int(start)] >= 0 else { return nil }
        var counts: [Node: Int] = [:]
        func count(_ level: [Node: Int]) -> Int { level[end] ?? 0 }
        // Every step is one nearer, so the ways to each file are known before they are added up for the next.
        counts[start] = 1
        for _ in 0..<distances[Int(start)] {
            var further: [Node: Int] = [:]
            for (node, ways) in counts {
                try check()
                for other in nearer(node, direction, distances) {
                    let (sum, isTooMuch) = (further[other] ?? 0).addingReportingOverflow(ways)
                    further[other] = isTooMuch ? .max : sum
                }
            }
            counts = further
        }
        var paths: [[Node]] = []
        var path = [start]
        func walk() throws {
            try check()
            guard let last = path.last, last != end else { return paths.append(path) }
            for other in nearer(last, direction, distances).sorted(by: { graph.path($0) < graph.path($1) })
            where paths.count < most {
                path.append(other)
                try walk()
                path.removeLast()
            }
        }
        try walk()
        return Paths(paths: paths, total: count(counts))
    }

    private func nearer(_ node: Node, _ direction: Direction, _ distances: [Int32]) -> [Node] {
        next(node, direction).filter { distances[Int($0)] >= 0 && distances[Int($0)] == distances[Int(node)] - 1 }
    }

    /// How far each file is from `end`, up to where `start` is; -1 for those further away.
    private func distances(to end: Node, from start: Node, _ direction: Direction) throws -> [Int32] {
        var distances = [Int32](repeating: -1, count: graph.paths.count)
        distances[Int(end)] = 0
        var level = [end]
        while distances[Int(start)] < 0, !level.isEmpty {
            var further: [Node] = []
            for node in level {
                try check()
                for other in next(node, direction.reversed) where distances[Int(other)] < 0 {
                    guard allows(other) || other == start else { continue }
                    distances[Int(other)] = distances[Int(node)] + 1
                    further.append(other)
                }
            }
            level = further
        }
        return distances
    }
}
