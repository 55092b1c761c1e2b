/// Which file a link leads to, by Obsidian's rules, over a set of paths.
struct LinkResolver: Sendable {
    /// Paths by their folded form.
    private var exact: [String: String] = [:]
    /// Paths by the folded last part.
    private var byName: [String: [String]] = [:]

    init(paths: some Sequence<String>) {
        for path in paths { insert(path) }
    }

    mutating func insert(_ path: String) {
        let low = folded(path)
        exact[low] = exact[low].map { min($0, path) } ?? path
        byName[Self.name(low), default: []].append(path)
    }

    mutating func remove(_ path: String) {
        let low = folded(path)
        byName[Self.name(low)]?.removeAll { $0 == path }
        if byName[Self.name(low)]?.isEmpty == true { byName[Self.name(low)] = nil }
        exact[low] = byName[Self.name(low)]?.filter { folded($0) == low }.min()
    }

    /// Whether no other file has a file's name.
    func isUnique(_ path: String) -> Bool { byName[Self.name(folded(path))]?.count == 1 }

    /// The file that the path part of a link in `source` leads to; nil for none.
    func resolve(_ target: String, from source: String) -> String? {
        if target.isEmpty { return source }
        let low = folded(target)
        let folder = folded(VaultPath(trusted: source).folder)
        if low.hasPrefix("./") || low.hasPrefix("../") { return either(low) { exact[Self.relative($0, to: folder)] } }
        if low.hasPrefix("/") { return either(low) { exact[String($0.dropFirst())] } }
        if let found = either(low, { exact[$0] }) { return found }
        return either(low) { ending(in: $0, folder: folder) }
    }

    /// First as it is, when its last part has a dot, then with `.md`.
    private func either(_ target: String, _ find: (String) -> String?) -> String? {
        if Self.name(target).contains("."), let found = find(target) { return found }
        return find(target + ".md")
    }

    /// Among files that end in the target: one in the source's own folder, then the shortest path, then the first.
    private func ending(in target: String, folder: String) -> String? {
        let candidates = (byName[Self.name(target)] ?? []).filter { folded($0) == target || folded($0).hasSuffix("/" + target) }
        if let own = candidates.filter({ folded(VaultPath(trusted: $0).folder) == folder }).min() { return own }
        return candidates.min { ($0.count, $0) < ($1.count, $1) }
    }

    private static func name(_ path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }

    /// Climbing above the root stays at the root.
    private static func relative(_ target: String, to folder: String) -> String {
        var parts = folder.split(separator: "/")
        for part in target.split(separator: "/") {
            switch part {
            case ".": continue
            case "..": _ = parts.popLast()
            default: parts.append(part)
            }
        }
        return parts.joined(separator: "/")
    }
}
