import KnapPlugin
import Synchronization

/// The streams that tell the Gateway which notes changed, as the addresses of resources.
final class ResourceFeeds: Sendable {
    /// One stream. A slow reader misses no address: several changes of one are told once.
    final class Feed: Sendable {
        private struct State {
            var pending: Set<String>
            /// What was sent last and when: a reader that goes may not have taken it.
            var sent: [(uris: [String], time: ContinuousClock.Instant)] = []
        }

        private static let doubted = Duration.seconds(5)

        private let state: Mutex<State>
        private let signals: AsyncStream<Void>
        private let signal: AsyncStream<Void>.Continuation
        /// As many as one message may well have.
        private static let most = 1000

        fileprivate init(_ pending: Set<String>) {
            state = Mutex(State(pending: pending))
            (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
            // Also where there is nothing yet: the Gateway waits for a feed's first word.
            signal.yield()
        }

        fileprivate func add(_ uris: Set<String>) {
            state.withLock { $0.pending.formUnion(uris) }
            signal.yield()
        }

        fileprivate func end() { signal.finish() }

        /// Sends what changes until the plugin stops or the reader goes.
        func run(_ send: ([String]) async throws -> Void) async throws {
            for await _ in signals {
                var uris = take()[...]
                repeat {
                    try await send(Array(uris.prefix(Self.most)))
                    uris = uris.dropFirst(Self.most)
                } while !uris.isEmpty
            }
        }

        private func take() -> [String] {
            state.withLock { state in
                let uris = state.pending.sorted()
                state.pending = []
                state.sent.removeAll { .now - $0.time > Self.doubted }
                state.sent.append((uris, .now))
                return uris
            }
        }

        /// What its reader may not have heard.
        fileprivate var left: Set<String> {
            state.withLock { state in
                state.sent.filter { .now - $0.time <= Self.doubted }.reduce(into: state.pending) { $0.formUnion($1.uris) }
            }
        }
    }

    private struct State {
        var feeds: [Feed] = []
        /// What was told while nobody listened, as in the moment in which the Gateway is replaced.
        var unheard: Set<String> = []
    }

    private static let mostUnheard = 10_000

    private let state = Mutex(State())

    func open() -> Feed {
        state.withLock { state in
            let feed = Feed(state.unheard)
            state.unheard = []
            state.feeds.append(feed)
            return feed
        }
    }

    func close(_ feed: Feed) {
        state.withLock { state in
            state.feeds.removeAll { $0 === feed }
            if state.feeds.isEmpty { state.unheard.formUnion(feed.left) }
        }
    }

    /// What nobody heard, for the generation that follows.
    var unheard: [String] { state.withLock { $0.unheard.sorted() } }

    func endAll() { for feed in state.withLock({ $0.feeds }) { feed.end() } }

    func add(_ uris: Set<String>) {
        let feeds = state.withLock { state in
            if state.feeds.isEmpty, state.unheard.count < Self.mostUnheard { state.unheard.formUnion(uris) }
            return state.feeds
        }
        for feed in feeds { feed.add(uris) }
    }
}
