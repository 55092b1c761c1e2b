import KnapJSON

/// How many bytes of tools `tools/list` may have: each one is paid for in every conversation.
package struct ListBudget: Sendable, Hashable {
    /// For the tools that ship with Knap.
    package var builtIn: Int
    /// For all tools.
    package var whole: Int

    package init(builtIn: Int = 8 * 1024, whole: Int = 24 * 1024) {
        self.builtIn = builtIn
        self.whole = whole
    }

    /// What the result has around the tools.
    static let overhead = 320
}

/// Builds a catalog from contributions. An item that cannot be served is left out alone, with a reason.
struct CatalogBuilder {
    private let budget: ListBudget
    private let lint: SchemaLint
    private var catalog = Catalog()
    private var names: Set<String> = []

    static func build(_ offers: [Offer], own: [Tool], budget: ListBudget, lint: SchemaLint) -> Catalog {
        var builder = CatalogBuilder(budget: budget, lint: lint, own: own)
        // A stable partition: within each party the registry's order holds.
        for offer in offers where offer.isFirstParty { builder.add(offer) }
        let builtIn = builder.catalog.tools.count
        for offer in offers where !offer.isFirstParty { builder.add(offer) }
        builder.fit(builtIn: builtIn)
        builder.catalog.index()
        return builder.catalog
    }

    private init(budget: ListBudget, lint: SchemaLint, own: [Tool]) {
        self.budget = budget
        self.lint = lint
        catalog.tools = own
        names = Set(own.map(\.name))
    }

    private mutating func add(_ offer: Offer) {
        do throws(Unservable) {
            guard offer.isOwn else { throw Unservable("its method is not one that the plugin itself provides") }
            if let problem = offer.problem { throw Unservable(problem) }
            switch offer.item["kind"]?.stringValue {
            case "tool": try add(tool: Tool(offer, lint), from: offer)
            case "resource": try catalog.resources.append(Resource(offer))
            case "resource_template": try catalog.templates.append(ResourceTemplate(offer))
            case "resource_list": try catalog.resourceLists.append(ResourceList(offer))
            case "prompt": try add(prompt: Prompt(offer))
            case "subscription_check": try catalog.subscriptionChecks.append(offer.item.required("method"))
            case "feed": try catalog.feeds.append(Feed(offer))
            case "completion": try catalog.completions.append(Completion(offer))
            case let kind?: throw Unservable("this Gateway does not know the kind \(kind); a newer one may")
            case nil: throw Unservable("it has no kind")
            }
        } catch {
            report(.error, offer, "Left out: \(error.reason).")
        }
    }

    /// The first to offer a name has it; a later one is served under its plugin's name.
    private mutating func add(tool: Tool, from offer: Offer) throws(Unservable) {
        var tool = tool
        if !names.insert(tool.name).inserted {
            let wanted = tool.name
            tool.name = "\(Self.plain(offer.plugin))_\(wanted)"
            try Tool.check(name: tool.name)
            guard names.insert(tool.name).inserted else {
                throw Unservable("the names \(wanted) and \(tool.name) are both taken")
            }
            report(.warning, offer, "The name \(wanted) is taken, so it is served as \(tool.name).")
        }
        catalog.tools.append(tool)
    }

    private mutating func add(prompt: Prompt) throws(Unservable) {
        guard !catalog.prompts.contains(where: { $0.name == prompt.name }) else {
            throw Unservable("another prompt has the name \(prompt.name)")
        }
        catalog.prompts.append(prompt)
    }

    /// Unlists what does not fit the budget, in order, so that the same plugins always give the same list.
    private mutating func fit(builtIn: Int) {
        var used = ListBudget.overhead
        for index in catalog.tools.indices where catalog.tools[index].isListed {
            let size = catalog.tools[index].listing.serialized().utf8.count + 1
            let limit = index < builtIn ? min(budget.builtIn, budget.whole) : budget.whole
            if used + size <= limit {
                used += size
            } else {
                catalog.tools[index].isListed = false
            }
        }
    }

    private mutating func report(_ severity: Problem.Severity, _ offer: Offer, _ reason: String) {
        let kind = offer.item["kind"]?.stringValue ?? "item"
        let name = offer.item["name"]?.stringValue ?? offer.item["uri"]?.stringValue ?? "without a name"
        catalog.problems.append(
            Problem(severity: severity, plugin: offer.plugin, item: "\(kind) \(name)", reason: reason))
    }

    /// A plugin's name with only what a tool's name may have.
    private static func plain(_ name: String) -> String {
        String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") ? $0 : "_" })
    }
}
