import Synchronization

/// The catalog that is served now, and word of every change to those who wait for it.
package final class LiveCatalog: Sendable {
    /// Weak: whoever watches holds the watch.
    private struct Watcher {
        weak var watch: CatalogWatch?
        /// The lists as the watcher knows them from another generation.
        var known: ListDigests?

        func changes(to lists: ListDigests) -> Changes {
            Changes(lists: known.map { lists.changes(since: $0) } ?? [])
        }
    }

    private struct State {
        var catalog: Catalog
        /// After a reload, false until the plugins have said what they offer.
        var isSettled = true
        /// What manifests contribute.
        var offers: [Offer] = []
        /// What plugins offer while they run, by the feed that said so.
        var runtime: [Feed: [Offer]] = [:]
        var watchers: [Int: Watcher] = [:]
        var nextWatcher = 0

        /// By plugin; each one's manifest comes before what it offers while it runs.
        var allOffers: [Offer] {
            guard !runtime.isEmpty else { return offers }
            var all: [Offer] = []
            for (index, offer) in offers.enumerated() {
                all.append(offer)
                let isLast = index + 1 == offers.count || offers[index + 1].plugin != offer.plugin
                guard isLast else { continue }
                let feeds = runtime.keys.filter { $0.plugin == offer.plugin }.sorted { $0.method < $1.method }
                for feed in feeds { all += runtime[feed] ?? [] }
            }
            return all
        }
    }

    private let budget: ListBudget
    private let lint: SchemaLint
    private let state: Mutex<State>
    private let closed = Atomic(false)

    package init(budget: ListBudget = ListBudget(), lint: SchemaLint = SchemaLint()) {
        self.budget = budget
        self.lint = lint
        state = Mutex(State(catalog: CatalogBuilder.build([], own: OwnTools.all, budget: budget, lint: lint)))
    }

    package var current: Catalog { state.withLock { $0.catalog } }

    /// Swaps in what the registry now offers. Watchers hear of it only if a list came out different.
    package func publish(_ offers: [Offer]) {
        swap { state in
            state.offers = offers
            // What a plugin offered while it ran goes with the plugin.
            let feeds = Set(offers.compactMap { $0.item["kind"] == "feed" ? try? Feed($0) : nil })
            state.runtime = state.runtime.filter { feeds.contains($0.key) }
        }
    }

    /// Swaps in what a plugin now offers besides its manifest.
    func publish(_ offers: [Offer], of feed: Feed) {
        swap { state in
            guard state.catalog.feeds.contains(feed) else { return }
            state.runtime[feed] = offers
        }
    }

    /// Tells of what changed besides the catalog.
    package func announce(_ changes: Changes) {
        guard !changes.isEmpty else { return }
        // Told without the lock, which a watch takes when it goes.
        for watch in state.withLock({ $0.watchers.values.compactMap(\.watch) }) { watch.tell(changes) }
    }

    private func swap(_ change: (inout State) -> Void) {
        let lists = state.withLock { state in
            change(&state)
            let catalog = CatalogBuilder.build(state.allOffers, own: OwnTools.all, budget: budget, lint: lint)
            defer { state.catalog = catalog }
            return state.isSettled ? catalog.digests.changes(since: state.catalog.digests) : []
        }
        announce(Changes(lists: lists))
    }

    // MARK: - Over a reload

    /// The clients of the generation before are to go on here. Until the catalog has settled they hear of no list.
    package func succeed() { state.withLock { $0.isSettled = false } }

    /// What the generation before offered is offered again, or will not be: clients hear of the lists that are not what
    /// they know.
    package func settle() {
        let told = state.withLock { state -> [(CatalogWatch, Changes)] in
            guard !state.isSettled else { return [] }
            state.isSettled = true
            return state.watchers.values.compactMap { watcher in
                watcher.watch.map { ($0, watcher.changes(to: state.catalog.digests)) }
            }
        }
        for (watch, changes) in told { watch.tell(changes) }
    }

    /// The lists as clients know them; nil until the catalog has settled.
    package var settled: ListDigests? { state.withLock { $0.isSettled ? $0.catalog.digests : nil } }

    // MARK: - Watching

    /// The changes from now on, for as long as somebody holds the watch and the catalog is not closed. A slow reader
    /// misses none: several changes become one.
    ///
    /// - Parameters:
    ///   - known: The lists as the watcher knows them from another generation: it hears of what differs.
    ///   - wants: Whether the watcher cares for a subject; asked under a lock, so it must be quick.
    package func watch(
        since known: ListDigests? = nil, wants: @escaping @Sendable (Subject) -> Bool = { _ in false }
    ) -> CatalogWatch {
        let (watch, missed) = state.withLock { state in
            let watch = CatalogWatch(catalog: self, id: state.nextWatcher, wants: wants)
            let watcher = Watcher(watch: watch, known: known)
            state.watchers[state.nextWatcher] = watcher
            state.nextWatcher += 1
            return (watch, state.isSettled ? watcher.changes(to: state.catalog.digests) : Changes())
        }
        watch.tell(missed)
        return watch
    }

    /// Ends every watch: the server is going.
    package func close() {
        closed.store(true, ordering: .sequentiallyConsistent)
        for watch in state.withLock({ $0.watchers.values.compactMap(\.watch) }) { watch.dismiss() }
    }

    /// The server goes on after all.
    package func open() { closed.store(false, ordering: .sequentiallyConsistent) }

    var isClosed: Bool { closed.load(ordering: .sequentiallyConsistent) }

    package var watcherCount: Int { state.withLock { $0.watchers.count } }

    func forget(_ id: Int) { state.withLock { _ = $0.watchers.removeValue(forKey: id) } }
}
