import Testing

@testable import KnapHost

/// A pool from 1 to 3 workers of 2 calls each, looked at at these milliseconds.
@Suite struct PoolSizingTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var what: String
        var looks: [(at: Int, inFlight: [Int])]
        var decisions: [PoolSizing.Decision]
        var testDescription: String { what }
    }

    static let cases = [
        Case(
            what: "calls that wait long enough at all workers bring one more",
            looks: [(0, [3]), (50, [4]), (99, [3]), (100, [3])], decisions: [.hold, .hold, .hold, .grow]),
        Case(
            what: "a moment without waiting calls begins the time anew",
            looks: [(0, [3]), (50, [2]), (100, [3]), (199, [3]), (200, [3])], decisions: [.hold, .hold, .hold, .hold, .grow]),
        Case(
            what: "one worker that has time is enough",
            looks: [(0, [9, 2]), (100, [9, 2]), (200, [9, 2])], decisions: [.hold, .hold, .hold]),
        Case(
            what: "each further worker needs its own time",
            looks: [(0, [5]), (100, [5]), (110, [3, 3]), (200, [3, 3]), (210, [3, 3])],
            decisions: [.hold, .grow, .hold, .hold, .grow]),
        Case(
            what: "no more than the most", looks: [(0, [9, 9, 9]), (100, [9, 9, 9]), (1000, [9, 9, 9])],
            decisions: [.hold, .hold, .hold]),
        Case(
            what: "what fits into one fewer for long enough brings one fewer",
            looks: [(0, [1, 1]), (500, [2, 0]), (999, [0, 0]), (1000, [0, 0])], decisions: [.hold, .hold, .hold, .shrink]),
        Case(
            what: "a call too many begins the time anew",
            looks: [(0, [1, 1]), (500, [2, 1]), (1000, [1, 1]), (1999, [1, 1]), (2000, [1, 1])],
            decisions: [.hold, .hold, .hold, .hold, .shrink]),
        Case(what: "no fewer than the least", looks: [(0, [0]), (5000, [0])], decisions: [.hold, .hold]),
        Case(
            what: "between too many and too few nothing changes",
            looks: [(0, [2, 2]), (5000, [2, 1]), (9000, [3, 2])], decisions: [.hold, .hold, .hold]),
    ]

    private static func sizing() -> PoolSizing {
        var pool = Pool()
        pool.maximum = 3
        pool.concurrency = 2
        pool.shrinkAfter = .seconds(1)
        return PoolSizing(pool)
    }

    @Test(arguments: cases) func aPoolFollowsItsLoad(_ example: Case) {
        var sizing = Self.sizing()
        let start = ContinuousClock.now
        let decisions = example.looks.map { sizing.look(at: start + .milliseconds($0.at), inFlight: $0.inFlight) }
        #expect(decisions == example.decisions)
    }

    @Test func aWorkerThatDidNotStartIsNotTriedAgainForAWhile() {
        var sizing = Self.sizing()
        let start = ContinuousClock.now
        _ = sizing.look(at: start, inFlight: [3])
        #expect(sizing.look(at: start + .milliseconds(100), inFlight: [3]) == .grow)
        sizing.couldNotGrow(at: start + .milliseconds(100))
        for time in stride(from: 150, to: 1100, by: 50) {
            #expect(sizing.look(at: start + .milliseconds(time), inFlight: [3]) == .hold)
        }
        #expect(sizing.look(at: start + .milliseconds(1100), inFlight: [3]) == .grow)
    }

    /// After a change the opposite one must not follow for the same load, or a steady load would make a pool swing.
    @Test(arguments: 1...40) func aSteadyLoadLeadsToOneSize(_ load: Int) {
        var sizing = Self.sizing()
        var workers = 1, changes = 0
        let start = ContinuousClock.now
        for look in 0..<2000 {
            let inFlight = (0..<workers).map { (load + $0) / workers }
            switch sizing.look(at: start + .milliseconds(25 * look), inFlight: inFlight) {
            case .hold: continue
            case .grow: workers += 1
            case .shrink: workers -= 1
            }
            changes += 1
        }
        #expect(changes == workers - 1, "\(load) calls in flight ended with \(workers) workers after \(changes) changes")
    }
}
