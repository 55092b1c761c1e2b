import KnapJSON
import KnapPlugin
import Synchronization

/// Tells when the plugins that the host is starting have started.
///
/// The Gateway requires none of them, so that it answers `initialize` at once; but a client that reads a list before
/// they are there might never read it again.
final class Startup: Sendable {
    /// No list waits longer than this after the Gateway itself has started.
    static let patience = Duration.seconds(3)
    private static let pause = Duration.milliseconds(10)

    private let host: PluginHost
    private let feeds: PluginFeeds
    private let catalog: LiveCatalog
    private let end: Deadline
    private let isSettled = Atomic(false)

    init(host: PluginHost, feeds: PluginFeeds, catalog: LiveCatalog) {
        self.host = host
        self.feeds = feeds
        self.catalog = catalog
        end = .after(Self.patience)
    }

    func settled() async {
        while !isSettled.load(ordering: .relaxed) {
            if await isStillStarting(), !end.hasPassed, (try? await host.timers.sleep(for: Self.pause)) != nil {
                continue
            }
            // A cancelled wait says nothing about the plugins.
            guard !Task.isCancelled else { return }
            // Before a list is read: later changes are told.
            catalog.settle()
            isSettled.store(true, ordering: .relaxed)
        }
    }

    private func isStillStarting() async -> Bool {
        if feeds.areStarting { return true }
        let plugins: JSON? = try? await host.services.bind("host.plugins").call(Empty(), parent: nil)
        return (plugins?["plugins"]?.arrayValue ?? []).contains { $0["state"]?.stringValue == "starting" }
    }
}
