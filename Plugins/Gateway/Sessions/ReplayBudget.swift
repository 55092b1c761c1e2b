import Synchronization

/// How much of what was sent is kept for clients that come back to their streams, in all sessions together.
final class ReplayBudget: Sendable {
    static let maximum = 64 << 20

    private let held = Atomic<Int>(0)
    /// Drops what is kept of the sessions that were idle for longest.
    private let shrink = Mutex<(@Sendable () -> Void)?>(nil)

    /// What has to go so that some time passes before the next shrinking.
    var excess: Int { held.load(ordering: .relaxed) - Self.maximum / 2 }

    func onExcess(_ shrink: @escaping @Sendable () -> Void) { self.shrink.withLock { $0 = shrink } }

    func add(_ bytes: Int) {
        guard held.add(bytes, ordering: .relaxed).newValue > Self.maximum else { return }
        shrink.withLock { $0 }?()
    }

    func remove(_ bytes: Int) { held.subtract(bytes, ordering: .relaxed) }
}
