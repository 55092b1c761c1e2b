import KnapJSON

/// What each scope of an access token covers. Any one scope that covers a thing is enough for it.
package struct ScopePolicy: Sendable {
    private struct Scope: Sendable {
        var name: String
        var tools: [NamePattern] = []
        /// Every tool that says of itself that it only reads.
        var readOnly = false
        var resources = false
        var prompts = false
        var routes = false

        func covers(_ use: Use) -> Bool {
            switch use {
            case .tool(let tool): readOnly && tool.isReadOnly || tools.contains { $0.matches(tool.name) }
            case .resources: resources
            case .prompts: prompts
            case .routes: routes
            }
        }
    }

    /// The narrow ones first: the first that covers a thing is the one that is asked for.
    private let scopes: [Scope]

    /// `mcp:read` for reading, `mcp:write` for everything.
    package static let standard = ScopePolicy(scopes: [
        Scope(name: "mcp:read", readOnly: true, resources: true, prompts: true),
        Scope(name: "mcp:write", tools: [NamePattern("*")], resources: true, prompts: true, routes: true),
    ])

    private init(scopes: [Scope]) { self.scopes = scopes }

    /// - Parameter configuration: By the scope's name: `tools`, `read_only`, `resources`, `prompts`, `routes`.
    package init(_ configuration: JSONObject) {
        scopes = configuration.members.map { name, value in
            Scope(
                name: name, tools: (value["tools"]?.arrayValue ?? []).compactMap(\.stringValue).map(NamePattern.init),
                readOnly: value["read_only"]?.boolValue ?? false, resources: value["resources"]?.boolValue ?? false,
                prompts: value["prompts"]?.boolValue ?? false, routes: value["routes"]?.boolValue ?? false)
        }
    }

    package var names: [String] { scopes.map(\.name) }

    package func allows(_ use: Use, with granted: Set<String>) -> Bool {
        // The Gateway's own find and call others, which are checked by themselves.
        if case .tool(let tool) = use, !tool.isPlugins { return true }
        return scopes.contains { granted.contains($0.name) && $0.covers(use) }
    }

    /// The scope to ask for; nil where none covers it.
    package func scope(for use: Use) -> String? { scopes.first { $0.covers(use) }?.name }

    /// All that a client should ask for at once: with what it has already, because clients before 2026-07-28 ask anew
    /// for exactly what they are told and would lose the rest.
    package func names(wanted use: Use, besides granted: Set<String>) -> [String] {
        let wanted = scope(for: use)
        return names.filter { $0 == wanted || granted.contains($0) }
    }
}

extension Tool {
    fileprivate var isReadOnly: Bool { annotations?["readOnlyHint"]?.boolValue == true }
}

/// A name in which `*` stands for any characters, or none.
package struct NamePattern: Sendable {
    private let parts: [Substring]

    package init(_ text: String) { parts = text.split(separator: "*", omittingEmptySubsequences: false) }

    package func matches(_ name: String) -> Bool {
        guard let first = parts.first, let last = parts.last, name.hasPrefix(first) else { return false }
        guard parts.count > 1 else { return name == first }
        var rest = name.dropFirst(first.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            // The leftmost fit leaves the most for the rest.
            guard let range = rest.firstRange(of: part) else { return false }
            rest = rest[range.upperBound...]
        }
        return rest.hasSuffix(last)
    }
}
