/// When a pool gets a worker more or less; pure, so that it can be tested without waiting.
///
///     one more    at every look during `growAfter` each worker had more calls than it works on at a time
///     one fewer   at every look during `shrinkAfter` all calls would have fitted into one worker fewer
///
/// Between the two lies a band in which nothing changes: a pool that shrank is `n` calls away from growing again. Looks
/// are close together only while calls wait, rare while the pool is larger than it need be, and end otherwise: an idle
/// pool of its least size costs nothing.
struct PoolSizing: Sendable {
    enum Decision: Sendable, Equatable { case hold, grow, shrink }

    private let pool: Pool
    private var busySince: ContinuousClock.Instant?
    private var roomySince: ContinuousClock.Instant?
    private var mayGrowFrom: ContinuousClock.Instant?

    init(_ pool: Pool) { self.pool = pool }

    /// `inFlight`: the calls of each worker that takes some.
    mutating func look(at now: ContinuousClock.Instant, inFlight: [Int]) -> Decision {
        let isBusy = inFlight.count < pool.maximum && inFlight.allSatisfy { $0 > pool.concurrency }
        let isRoomy =
            inFlight.count > pool.minimum && inFlight.reduce(0, +) <= (inFlight.count - 1) * pool.concurrency
        busySince = isBusy ? busySince ?? now : nil
        roomySince = isRoomy ? roomySince ?? now : nil
        if let since = busySince, now - since >= pool.growAfter, mayGrowFrom.map({ $0 <= now }) ?? true {
            busySince = nil
            return .grow
        }
        if let since = roomySince, now - since >= pool.shrinkAfter {
            roomySince = nil
            return .shrink
        }
        return .hold
    }

    /// One more could not be had: it is not tried again for a while.
    mutating func couldNotGrow(at now: ContinuousClock.Instant) { mayGrowFrom = now + pool.shrinkAfter }

    /// Calls wait: when to look again.
    var shortPause: Duration { pool.growAfter / 4 }
    /// No call waits, but the pool is larger than its least size.
    var longPause: Duration { pool.shrinkAfter / 16 }
    var isBusy: Bool { busySince != nil }
}
