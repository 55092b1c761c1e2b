import KnapPlugin

/// build_context.
extension ObsidianPlugin {
    struct ContextInput: Codable, Sendable {
        var path: String
        var depth: Int?
        var backlinks: Bool?
        var max_tokens: Int?
        var vault: String?
    }

    struct ContextOutput: Codable, Sendable {
        struct Part: Codable, Sendable {
            var path: String
            var distance: Int
            var subpath: String?
            var line: Int
            /// The line at which the rest begins that did not fit.
            var cut_at: Int?
        }
        var path: String
        /// Each part under a line with its path.
        var content: String
        var parts: [Part]
        /// How many did not fit; the content lists the nearest.
        var left_out: Int
        var indexing: Indexing?
    }

    private static let mostLeftOut = 50
    private static let standardTokens = 8000

    func context(_ input: ContextInput, _ call: Call) throws -> ContextOutput {
        let vault = try vaults.vault(input.vault, call)
        let depth = input.depth ?? 1
        guard (0...5).contains(depth) else {
            throw VaultError(.invalidArgument, "depth must be between 0 and 5, not \(depth)")
        }
        let tokens = input.max_tokens ?? Self.standardTokens
        guard (200...200_000).contains(tokens) else {
            throw VaultError(.invalidArgument, "max_tokens must be between 200 and 200000, not \(tokens)")
        }
        let path = try vault.find(input.path)
        guard path.isNote else { throw VaultError(.invalidArgument, "'\(path)' is not a note") }
        let graph = input.backlinks == true ? try vault.linkGraph() : nil
        let resolver = vault.resolver
        var builder = ContextBuilder(
            depth: depth, hasBacklinks: input.backlinks ?? false,
            read: { place in
                // A note that was asked for and cannot be read is an error; one that has gone meanwhile is not there.
                place == path.text
                    ? try vault.readText(path).text : (try? vault.readText(VaultPath(trusted: place)))?.text
            },
            size: { place in vault.files.stamp(VaultPath(trusted: place)).map { Int($0.size) } },
            resolve: { resolver.resolve($0, from: $1) },
            backlinks: { place in
                guard let graph, let node = graph.node(place) else { return [] }
                return graph.sources[node].filter { graph.kind($0) == .note }.map(graph.path).sorted()
            }, check: WalkPatience(call).check)
        // The list of what is left out has its room too.
        let reserve = min(tokens / 8, 600)
        try builder.build(from: path.text, budget: (tokens - reserve) * TokenBudget.charactersOfToken)
        return ContextOutput(
            path: path.text, content: Self.content(builder, room: reserve * TokenBudget.charactersOfToken),
            parts: builder.parts.map {
                .init(path: $0.path, distance: $0.distance, subpath: $0.subpath, line: $0.line, cut_at: $0.cut_at)
            },
            left_out: builder.leftOut.count, indexing: Indexing(vault))
    }

    private static func content(_ builder: ContextBuilder, room: Int) -> String {
        var content = ""
        for part in builder.parts {
            content += "===== \(part.path)\(part.subpath ?? "") =====\n" + part.text
            if !content.hasSuffix("\n") { content += "\n" }
            if let line = part.cut_at { content += "[cut here: the rest begins at line \(line)]\n" }
            content += "\n"
        }
        guard !builder.leftOut.isEmpty else { return content }
        var list = "===== left out, because it did not fit =====\n"
        for (number, each) in builder.leftOut.enumerated() {
            let line = "\(each.path)\(each.subpath ?? "") (\(each.size) characters, distance \(each.distance))\n"
            guard number < mostLeftOut, list.utf8.count + line.utf8.count + 20 <= room else {
                list += "and \(builder.leftOut.count - number) more\n"
                break
            }
            list += line
        }
        return content + list
    }
}
