/// Who needs whom, by index; an edge goes from a plugin to what it depends on.
struct DependencyGraph {
    private(set) var edges: [[Int]]

    init(count: Int) { edges = Array(repeating: [], count: count) }

    mutating func addEdge(from dependant: Int, to dependency: Int) { edges[dependant].append(dependency) }

    /// Strongly connected components, dependencies before dependants (Tarjan's algorithm, without recursion: a chain of
    /// ten thousand plugins must not need ten thousand stack frames).
    func components() -> [[Int]] {
        var search = ComponentSearch(edges: edges)
        for node in edges.indices { search.visit(node) }
        return search.components
    }

    /// The wave in which each node's step comes: after the waves of all it depends on, also through nodes without a step.
    func waves(isStep: (Int) -> Bool) -> [[Int]] {
        var level = Array(repeating: 0, count: edges.count)
        var waves: [[Int]] = []
        for component in components() {
            let reached = component.flatMap { edges[$0] }.map { level[$0] }.max() ?? 0
            for node in component { level[node] = reached }
            for node in component where isStep(node) {
                level[node] = reached + 1
                while waves.count <= reached { waves.append([]) }
                waves[reached].append(node)
            }
        }
        return waves
    }

    /// A shortest way round through `start` within `members`, beginning with the smallest index.
    func cycle(in members: [Int]) -> [Int] {
        guard let start = members.min() else { return [] }
        let inside = Set(members)
        var cameFrom: [Int: Int] = [:]
        var queue = [start]
        var head = 0
        while head < queue.count {
            let node = queue[head]
            head += 1
            for next in edges[node].sorted() where inside.contains(next) {
                if next == start { return path(to: node, cameFrom) }
                if cameFrom[next] == nil {
                    cameFrom[next] = node
                    queue.append(next)
                }
            }
        }
        return members
    }

    private func path(to end: Int, _ cameFrom: [Int: Int]) -> [Int] {
        var path = [end]
        while let last = path.last, let previous = cameFrom[last] { path.append(previous) }
        return path.reversed()
    }
}

/// Tarjan's search with its stack of calls as an array.
private struct ComponentSearch {
    let edges: [[Int]]
    private(set) var components: [[Int]] = []
    private var index: [Int]
    private var low: [Int]
    private var onStack: [Bool]
    private var stack: [Int] = []
    private var next = 0

    init(edges: [[Int]]) {
        self.edges = edges
        index = Array(repeating: -1, count: edges.count)
        low = index
        onStack = Array(repeating: false, count: edges.count)
    }

    mutating func visit(_ root: Int) {
        guard index[root] < 0 else { return }
        var calls = [(node: root, edge: 0)]
        enter(root)
        while let (node, edge) = calls.last {
            if edge < edges[node].count {
                calls[calls.count - 1].edge += 1
                let target = edges[node][edge]
                if index[target] < 0 {
                    enter(target)
                    calls.append((target, 0))
                } else if onStack[target] {
                    low[node] = min(low[node], index[target])
                }
            } else {
                calls.removeLast()
                if let caller = calls.last?.node { low[caller] = min(low[caller], low[node]) }
                if low[node] == index[node] { leave(node) }
            }
        }
    }

    private mutating func enter(_ node: Int) {
        index[node] = next
        low[node] = next
        next += 1
        stack.append(node)
        onStack[node] = true
    }

    private mutating func leave(_ root: Int) {
        var component: [Int] = []
        while let node = stack.popLast() {
            onStack[node] = false
            component.append(node)
            if node == root { break }
        }
        components.append(component)
    }
}
