import CKnap

/// Who offers one method, and to whom its route leads.
///
/// The planner lets one main provider of a service run and any number that stand in for it. The engine is told of one of
/// those: the highest version, of equals the first name.
struct Routing {
    /// The main provider first, then those that stand in, in the order in which they do.
    private(set) var offers: [ServiceDirectory.Offer] = []
    let input: MethodInput
    private var main: String?
    private var fallback: String?

    init(_ method: String) { input = MethodInput(method: method) }

    var first: ServiceDirectory.Offer? { offers.first }

    /// Takes the place of what the same plugin offered before.
    mutating func put(_ offer: ServiceDirectory.Offer, _ route: Route, _ engine: CallEngine) {
        let plugin = offer.provided.plugin
        offers.removeAll { $0.provided.plugin == plugin }
        offers.append(offer)
        offers.sort(by: Self.precedes)
        lead(route, engine, anew: plugin)
    }

    mutating func remove(_ plugin: String, _ route: Route, _ engine: CallEngine) {
        offers.removeAll { $0.provided.plugin == plugin }
        lead(route, engine, anew: nil)
    }

    /// Tells the engine what changed; who is to be called anew has another instance.
    private mutating func lead(_ route: Route, _ engine: CallEngine, anew plugin: String?) {
        let serving = offers.first { !$0.provided.isFallback }
        let standing = offers.first { $0.provided.isFallback }
        if serving?.provided.plugin != main || (main != nil && main == plugin) { engine.provide(route, serving?.provision) }
        if standing?.provided.plugin != fallback || (fallback != nil && fallback == plugin) {
            engine.provideFallback(route, standing?.provision)
        }
        (main, fallback) = (serving?.provided.plugin, standing?.provided.plugin)
        input.change(to: offers.first?.provided.schema)
    }

    private static func precedes(_ left: ServiceDirectory.Offer, _ right: ServiceDirectory.Offer) -> Bool {
        let (a, b) = (left.provided, right.provided)
        if a.isFallback != b.isFallback { return b.isFallback }
        if a.version != b.version { return a.version > b.version }
        return a.plugin < b.plugin
    }
}
