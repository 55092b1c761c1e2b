import Synchronization

/// The catalog that is served now, and word of every change to those who wait for it.
package final class CatalogFeed: Sendable {
    /// How often each list has changed; comparing two of these tells what changed in between, however much was missed.
    struct Epochs: Sendable, Equatable {
        var tools = 0
        var resources = 0
        var prompts = 0

        func changes(since old: Epochs) -> ListKinds {
            var kinds: ListKinds = []
            if tools != old.tools { kinds.insert(.tools) }
            if resources != old.resources { kinds.insert(.resources) }
            if prompts != old.prompts { kinds.insert(.prompts) }
            return kinds
        }

        mutating func advance(_ kinds: ListKinds) {
            if kinds.contains(.tools) { tools += 1 }
            if kinds.contains(.resources) { resources += 1 }
            if kinds.contains(.prompts) { prompts += 1 }
        }
    }

    private struct State {
        var catalog: Catalog
        var epochs = Epochs()
        var watchers: [Int: AsyncStream<Void>.Continuation] = [:]
        var nextWatcher = 0
        var isClosed = false
    }

    private let budget: ListBudget
    private let state: Mutex<State>

    package init(budget: ListBudget = ListBudget()) {
        self.budget = budget
        state = Mutex(State(catalog: CatalogBuilder.build([], own: OwnTools.all, budget: budget)))
    }

    package var current: Catalog { state.withLock { $0.catalog } }
    var epochs: Epochs { state.withLock { $0.epochs } }

    /// Swaps in what the registry now offers. Watchers hear of it only if a list came out different.
    package func publish(_ offers: [Offer]) {
        let catalog = CatalogBuilder.build(offers, own: OwnTools.all, budget: budget)
        let watchers = state.withLock { state in
            let changes = catalog.changes(since: state.catalog)
            state.catalog = catalog
            state.epochs.advance(changes)
            return changes.isEmpty ? [] : Array(state.watchers.values)
        }
        for watcher in watchers { watcher.yield() }
    }

    /// The changes from now on, until the watching task ends or the feed is closed. A slow reader misses none: several
    /// changes become one.
    package func watch() -> CatalogWatch {
        let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let (id, epochs) = state.withLock { state in
            let id = state.nextWatcher
            state.nextWatcher += 1
            if state.isClosed { continuation.finish() } else { state.watchers[id] = continuation }
            return (id, state.epochs)
        }
        continuation.onTermination = { [weak self] _ in self?.forget(id) }
        return CatalogWatch(feed: self, seen: epochs, wakes: stream)
    }

    /// Ends every watch: the server is going.
    package func close() {
        let watchers = state.withLock { state in
            state.isClosed = true
            return Array(state.watchers.values)
        }
        for watcher in watchers { watcher.finish() }
    }

    package var watcherCount: Int { state.withLock { $0.watchers.count } }

    private func forget(_ id: Int) { state.withLock { _ = $0.watchers.removeValue(forKey: id) } }
}

/// The changes of the catalog since the watch began, each reported once.
package struct CatalogWatch: AsyncSequence, AsyncIteratorProtocol, Sendable {
    package typealias Element = ListKinds
    package typealias Failure = Never

    private let feed: CatalogFeed
    private var seen: CatalogFeed.Epochs
    private let wakes: AsyncStream<Void>

    init(feed: CatalogFeed, seen: CatalogFeed.Epochs, wakes: AsyncStream<Void>) {
        self.feed = feed
        self.seen = seen
        self.wakes = wakes
    }

    package func makeAsyncIterator() -> CatalogWatch { self }

    package mutating func next() async -> ListKinds? {
        for await _ in wakes {
            let now = feed.epochs
            let changes = now.changes(since: seen)
            seen = now
            if !changes.isEmpty { return changes }
        }
        return nil
    }

    package mutating func next(isolation actor: isolated (any Actor)?) async -> ListKinds? { await next() }
}
