import Synchronization

/// The items that the other end of a call sends, in their order.
///
/// The other end may be at most a window of items ahead of this loop: taking items is what lets it send more. One task
/// reads at a time. The loop ends when the other end has finished and throws when the call failed or was cancelled.
public struct Items: AsyncSequence, Sendable {
    /// The end of a call that they arrive at. The loop keeps it.
    let source: any ItemSource

    public struct AsyncIterator: AsyncIteratorProtocol {
        let source: any ItemSource

        public mutating func next() async throws(PluginError) -> Item? { try await source.nextItem() }
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(PluginError) -> Item? {
            try await source.nextItem()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(source: source) }
}

/// Where items arrive: one end of a call.
protocol ItemSource: AnyObject, Sendable {
    func nextItem() async throws(PluginError) -> Item?
}

/// What has arrived and was not yet taken.
///
/// Bounded: items that need credit by the window, the others (progress, logs) by dropping the oldest of them.
final class Inbox: Sendable {
    fileprivate struct State {
        var items: [Item] = []
        /// Where the next item is; what is before it was taken.
        var head = 0
        var uncredited = 0
        /// Taken since credit was last given back.
        var taken: UInt32 = 0
        var hasEnded = false
        var error: PluginError?
    }

    fileprivate enum Step {
        case item(Item, credit: UInt32)
        case end(PluginError?)
        case empty
    }

    static let uncreditedLimit = 64

    let window: UInt32
    private let state = Mutex(State())
    private let wakeup = Wakeup()

    init(window: Int) { self.window = UInt32(clamping: max(1, window)) }

    /// How many items wait to be taken.
    var count: Int { state.withLock { $0.items.count - $0.head } }

    /// How many there is memory for.
    var held: Int { state.withLock { $0.items.count } }

    func push(_ item: Item) {
        state.withLock { state in
            guard !state.hasEnded else { return }
            if !item.needsCredit { state.makeRoomForUncredited() }
            state.items.append(item)
        }
        wakeup.signal()
    }

    /// Nothing follows; with an error, other than that the stream moved, what has not been taken is not given out any more.
    func finish(_ error: PluginError? = nil) {
        state.withLock { state in
            guard !state.hasEnded else { return }
            state.hasEnded = true
            state.error = error
        }
        wakeup.open()
    }

    /// The next item; `grant` lets the other end send as many more as it is called with.
    func next(grant: (UInt32) -> Void) async throws(PluginError) -> Item? {
        while true {
            // Also where there is always a next one.
            if Task.isCancelled, count > 0 { throw .cancelled }
            switch state.withLock({ $0.step(window: window) }) {
            case .item(let item, let credit):
                if credit > 0 { grant(credit) }
                return item
            case .end(let error):
                if let error { throw error }
                return nil
            case .empty:
                if Task.isCancelled { throw .cancelled }
                await wakeup.wait()
            }
        }
    }
}

extension Inbox.State {
    fileprivate mutating func step(window: UInt32) -> Inbox.Step {
        // Where a stream goes on elsewhere, what was sent before counts.
        if let error, !error.isMoved { return .end(error) }
        guard head < items.count else { return hasEnded ? .end(error) : .empty }
        let item = items[head]
        head += 1
        // Also where it never runs out: what was taken would stay for as long as the stream.
        if head == items.count || head >= Inbox.uncreditedLimit && head * 2 >= items.count {
            items.removeSubrange(..<head)
            head = 0
        }
        guard item.needsCredit else {
            uncredited -= 1
            return .item(item, credit: 0)
        }
        taken += 1
        // Half a window at a time: fewer calls to the host, and the sender never runs dry.
        guard taken >= (window + 1) / 2, !hasEnded else { return .item(item, credit: 0) }
        defer { taken = 0 }
        return .item(item, credit: taken)
    }

    fileprivate mutating func makeRoomForUncredited() {
        uncredited += 1
        guard uncredited > Inbox.uncreditedLimit, let oldest = items[head...].firstIndex(where: { !$0.needsCredit })
        else { return }
        items.remove(at: oldest)
        uncredited -= 1
    }
}
