import KnapJSON
import Synchronization

/// A method that stays open and tells what a plugin offers while it runs, and which of its resources change.
package struct Feed: Sendable, Hashable {
    package var plugin: String
    package var isFirstParty: Bool
    package var method: String

    init(_ offer: Offer) throws(Unservable) {
        plugin = offer.plugin
        isFirstParty = offer.isFirstParty
        method = try offer.item.required("method")
    }

    /// `service.` of the method: what a feed may name methods of.
    private var service: Substring { method[...(method.lastIndex(of: ".") ?? method.startIndex)] }

    /// Reads the items of one message. One that names another service's method is an offer that will be left out.
    ///
    /// - Parameter problems: What is wrong with each by the point's schema.
    func offers(_ items: [JSON], _ problems: [String?]) -> [Offer] {
        zip(items, problems).map { item, problem in
            let isOwn = item["method"]?.stringValue?.hasPrefix(service) == true
            return Offer(
                plugin: plugin, isFirstParty: isFirstParty, item: item, method: nil, isOwn: isOwn, problem: problem)
        }
    }
}

/// Keeps the feeds of all plugins open.
package final class PluginFeeds: Sendable {
    private struct State {
        var tasks: [Feed: Task<Void, Never>] = [:]
        /// Those from which nothing has come yet, and since when.
        var silent: [Feed: ContinuousClock.Instant] = [:]
    }

    /// A feed that has nothing to offer at its start may say nothing for long.
    private static let patience = Duration.milliseconds(500)
    private static let shortestPause = Duration.milliseconds(50)
    private static let longestPause = Duration.seconds(30)

    private let catalog: LiveCatalog
    private let backend: any Backend
    private let sleep: @Sendable (Duration) async throws -> Void
    private let state = Mutex(State())

    package init(
        catalog: LiveCatalog, backend: any Backend, sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.catalog = catalog
        self.backend = backend
        self.sleep = sleep
    }

    /// Whether a feed that was opened has said nothing yet: what its plugin offers is not complete.
    package var areStarting: Bool {
        state.withLock { state in state.silent.values.contains { ContinuousClock.now - $0 < Self.patience } }
    }

    /// Opens and closes feeds, so that those that the catalog names are open.
    package func follow(_ feeds: [Feed]) {
        state.withLock { state in
            let wanted = Set(feeds)
            for (feed, task) in state.tasks where !wanted.contains(feed) {
                task.cancel()
                state.tasks[feed] = nil
                state.silent[feed] = nil
            }
            for feed in wanted where state.tasks[feed] == nil {
                state.silent[feed] = .now
                state.tasks[feed] = Task { await self.read(feed) }
            }
        }
    }

    package func close() { follow([]) }

    /// Reads until cancelled. A feed that ends is opened again: its plugin may have been replaced or restarted.
    private func read(_ feed: Feed) async {
        var pause = Self.shortestPause
        while !Task.isCancelled {
            let began = ContinuousClock.now
            _ = try? await backend.call(BackendCall(feed.method)) { note in
                guard case .data(let bytes) = note, let message = try? JSON.parse(bytes) else { return }
                await self.take(message, of: feed)
            }
            state.withLock { $0.silent[feed] = nil }
            if ContinuousClock.now - began > pause { pause = Self.shortestPause }
            guard (try? await sleep(pause)) != nil else { return }
            pause = min(pause * 2, Self.longestPause)
        }
    }

    private func take(_ message: JSON, of feed: Feed) async {
        if let items = message["items"]?.arrayValue {
            let offers = feed.offers(items, await problems(of: items))
            // A feed that is closed says nothing about its items.
            guard !Task.isCancelled else { return }
            catalog.publish(offers, of: feed)
        }
        let updated = (message["updated"]?.arrayValue ?? []).compactMap(\.stringValue)
        catalog.announce(
            Changes(
                lists: message["resources_changed"] == true ? .resources : [],
                subjects: Set(updated.map(Subject.resource))))
        state.withLock { $0.silent[feed] = nil }
    }

    /// What is wrong with each item, as the host finds it for the items of manifests.
    private func problems(of items: [JSON]) async -> [String?] {
        guard !items.isEmpty else { return [] }
        let call = BackendCall("host.check_contributions", ["point": "mcp", "items": .array(items)])
        do throws(CallFailure) {
            let answer = try await backend.call(call) { _ in }.json(from: call.method)
            return items.indices.map { answer["problems"]?[$0]?.stringValue }
        } catch {
            return items.map { _ in error.message }
        }
    }
}
