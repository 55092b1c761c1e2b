import Glibc

/// A point in time on CLOCK_MONOTONIC, as every deadline in Knap is.
public struct Deadline: Sendable, Hashable, Comparable {
    public let nanoseconds: UInt64

    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    public static var now: Deadline {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Deadline(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// This long from now; now for a negative duration.
    public static func after(_ duration: Duration) -> Deadline { now + duration }

    public static func + (deadline: Deadline, duration: Duration) -> Deadline {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return deadline }
        let (whole, tooLong) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, overflow) = deadline.nanoseconds.addingReportingOverflow(whole &+ UInt64(attoseconds / 1_000_000_000))
        return Deadline(nanoseconds: tooLong || overflow ? .max : sum)
    }

    /// How long it is from now until then; zero once it has passed.
    public var remaining: Duration {
        let now = Deadline.now.nanoseconds
        return now < nanoseconds ? .nanoseconds(Int64(clamping: nanoseconds - now)) : .zero
    }

    public var hasPassed: Bool { nanoseconds <= Deadline.now.nanoseconds }

    public static func < (a: Deadline, b: Deadline) -> Bool { a.nanoseconds < b.nanoseconds }
}
