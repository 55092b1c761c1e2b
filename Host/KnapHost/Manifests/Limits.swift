/// The bounds that keep one plugin's trouble from becoming everyone's.
package struct Limits: Sendable, Hashable {
    /// Enforced in a worker, reported in-process; none: the operator's default.
    package var memoryBytes: Int?
    /// The bulkhead: calls running at once.
    package var inFlight = 256
    /// Calls waiting for a place; past it they fail with RESOURCE_EXHAUSTED.
    package var queue = 1024
    package var breaker: Breaker?
}

/// Answers UNAVAILABLE at once for `open`, after `failures` failed calls within `period`.
package struct Breaker: Sendable, Hashable {
    package var failures: Int
    package var period: Duration
    package var open: Duration
}
