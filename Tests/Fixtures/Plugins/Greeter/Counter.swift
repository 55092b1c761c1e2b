import Synchronization

/// A number that many calls may raise at once.
final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    var value: Int { count.load(ordering: .relaxed) }
    func add() { count.add(1, ordering: .relaxed) }
    func set(_ value: Int) { count.store(value, ordering: .relaxed) }
}
