import KnapJSON

/// One contribution to the point `mcp` or `http`, as the registry hands it over.
package struct Offer: Sendable, Hashable {
    package var plugin: String
    /// Whether the plugin ships with Knap: its names win collisions.
    package var isFirstParty: Bool
    package var item: JSON
    /// The manifest's entry of the method that the item names; nil where the plugin does not declare it.
    package var method: JSON?
    /// Whether the item's method is the plugin's own. Another's would be called with the Gateway's rights, which reach
    /// further than the plugin's.
    package var isOwn: Bool
    /// Why the item does not fit the point; those of manifests do.
    package var problem: String?

    package init(
        plugin: String, isFirstParty: Bool, item: JSON, method: JSON? = nil, isOwn: Bool = true, problem: String? = nil
    ) {
        self.plugin = plugin
        self.isFirstParty = isFirstParty
        self.item = item
        self.method = method
        self.isOwn = isOwn
        self.problem = problem
    }
}

/// An item that is not served as it was contributed, and why: what `knap doctor` shows.
package struct Problem: Sendable, Hashable {
    package enum Severity: String, Sendable { case warning, error }

    package var severity: Severity
    package var plugin: String
    /// Such as `tool search_notes`.
    package var item: String
    package var reason: String

    package var json: JSON {
        [
            "severity": .string(severity.rawValue), "plugin": .string(plugin), "item": .string(item),
            "reason": .string(reason),
        ]
    }
}
