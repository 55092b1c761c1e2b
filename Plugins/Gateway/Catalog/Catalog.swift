import KnapJSON

/// All that is served at one moment: immutable, built whole from the registry's snapshot and swapped at once.
package struct Catalog: Sendable {
    /// In their order of listing: Knap's own first, then by plugin and place in its manifest. Deterministic, because
    /// clients keep the list in a prompt cache.
    package internal(set) var tools: [Tool] = []
    package internal(set) var resources: [Resource] = []
    package internal(set) var templates: [ResourceTemplate] = []
    package internal(set) var resourceLists: [ResourceList] = []
    package internal(set) var prompts: [Prompt] = []
    package internal(set) var completions: [Completion] = []
    package internal(set) var feeds: [Feed] = []
    /// Methods that say whether a caller may hear of a resource.
    package internal(set) var subscriptionChecks: [String] = []
    package internal(set) var problems: [Problem] = []

    private var toolIndex: [String: Int] = [:]
    private(set) var digests = ListDigests()
    package private(set) var search = ToolSearch(tools: [])

    init() {}

    package func tool(named name: String) -> Tool? { toolIndex[name].map { tools[$0] } }

    package var listedTools: [Tool] { tools.filter(\.isListed) }

    mutating func index() {
        toolIndex = Dictionary(uniqueKeysWithValues: tools.enumerated().map { ($1.name, $0) })
        search = ToolSearch(tools: tools)
        digests = ListDigests(self)
    }
}

/// Which lists differ between two catalogs, as clients see them.
package struct ListKinds: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let tools = ListKinds(rawValue: 1)
    package static let resources = ListKinds(rawValue: 2)
    package static let prompts = ListKinds(rawValue: 4)

    /// The notification for each kind.
    package static let notifications: [(kind: ListKinds, method: String)] = [
        (.tools, "notifications/tools/list_changed"),
        (.resources, "notifications/resources/list_changed"),
        (.prompts, "notifications/prompts/list_changed"),
    ]
}
