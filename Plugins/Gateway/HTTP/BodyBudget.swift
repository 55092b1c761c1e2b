import Synchronization

/// How much memory the requests that are read and answered at one time may take together.
final class BodyBudget: Sendable {
    static let maximum = 512 << 20
    /// Shorter bodies are not counted: a connection has one.
    static let uncounted = 16 * 1024
    private let held = Atomic<Int>(0)

    /// Takes more for a request that holds `share`. False where there is no more.
    func grow(_ share: inout Int, to size: Int) -> Bool {
        let growth = min(size, Self.maximum) - share
        guard size > Self.uncounted, growth > 0 else { return true }
        guard held.add(growth, ordering: .relaxed).newValue <= Self.maximum else {
            held.subtract(growth, ordering: .relaxed)
            return false
        }
        share += growth
        return true
    }

    func giveBack(_ share: Int) { if share > 0 { held.subtract(share, ordering: .relaxed) } }
}
