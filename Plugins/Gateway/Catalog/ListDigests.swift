import KnapJSON

/// What tells the lists of one catalog from those of another, also of another process.
package struct ListDigests: Sendable, Hashable {
    private var tools = ""
    private var resources = ""
    private var prompts = ""

    /// Of no catalog.
    init() {}

    init(_ catalog: Catalog) {
        tools = Self.digest(catalog.listedTools.map(\.listing))
        // A method lists what it likes, so it stands for its list.
        resources = Self.digest([
            .array(catalog.resources.map(\.listing)), .array(catalog.templates.map(\.listing)),
            .array(catalog.resourceLists.map { .string($0.method) }),
        ])
        prompts = Self.digest(catalog.prompts.map(\.listing))
    }

    /// The lists that a client would find different.
    func changes(since old: ListDigests) -> ListKinds {
        var kinds: ListKinds = []
        if tools != old.tools { kinds.insert(.tools) }
        if resources != old.resources { kinds.insert(.resources) }
        if prompts != old.prompts { kinds.insert(.prompts) }
        return kinds
    }

    private static func digest(_ list: [JSON]) -> String {
        EntityTag(of: Array(JSON.array(list).serialized().utf8)).text
    }
}

extension ListDigests {
    var json: JSON {
        ["tools": .string(tools), "resources": .string(resources), "prompts": .string(prompts)]
    }

    init?(_ json: JSON?) {
        guard let tools = json?["tools"]?.stringValue, let resources = json?["resources"]?.stringValue,
            let prompts = json?["prompts"]?.stringValue
        else { return nil }
        (self.tools, self.resources, self.prompts) = (tools, resources, prompts)
    }
}
