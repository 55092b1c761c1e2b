/// What nothing holds in the graph.
extension LinkGraph {
    /// Notes without a link in or out, as Obsidian's graph shows them: a link to a note that does not exist yet is one,
    /// an embedded picture is none. With `noBacklinks` those to which no note or canvas links, whatever they link to.
    func orphans(noBacklinks: Bool) -> [Node] {
        all.filter { node in
            guard kind(node) == .note, sources[node].isEmpty else { return false }
            return noBacklinks || broken[Int(node)] == 0 && !targets[node].contains(where: isLinking)
        }
    }

    /// Files that no note or canvas links to or embeds, without those that are documents themselves.
    var unused: [Node] {
        all.filter { kind($0) == .other && sources[$0].isEmpty && !path($0).lowercased().hasSuffix(".base") }
    }

    /// In the order of their paths, only those in a folder where one is given.
    func sorted(_ nodes: [Node], in folder: String? = nil) -> [Node] {
        var nodes = nodes
        if let folder {
            let prefix = folded(folder) + "/"
            nodes = nodes.filter { folded(path($0)).hasPrefix(prefix) }
        }
        return nodes.sorted { path($0) < path($1) }
    }
}
