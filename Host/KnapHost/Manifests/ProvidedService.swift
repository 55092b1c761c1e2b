import KnapJSON

/// A service a plugin offers: a named, versioned set of methods.
package struct ProvidedService: Sendable, Hashable {
    package var service: String
    package var version: Version
    /// It serves what the service's main provider cannot: while that is absent, overloaded or refused by its breaker.
    package var isFallback = false
    package var methods: [Method]

    package func method(_ name: String) -> Method? { methods.first { $0.name == name } }
}

/// One method of a service, and all that a caller or the host must know to call it well.
package struct Method: Sendable, Hashable {
    /// Which sides of a call send more than one item.
    package enum Streams: String, Sendable, Hashable, CaseIterable {
        case none
        case input = "in"
        case output = "out"
        case both
    }

    package var name: String
    package var description = ""
    /// JSON Schemas; none means that any body goes.
    package var input: JSON?
    package var output: JSON?
    package var inputContentType = Self.json
    package var outputContentType = Self.json
    /// `call` may hold its thread, so it runs on the blocking pool.
    package var isBlocking = true
    /// Calling twice has the effect of calling once, so a call that may have run can be tried again.
    package var isIdempotent = false
    package var isMutating = true
    package var streams = Streams.none
    /// None: the call may take for ever.
    package var deadline: Duration? = .seconds(30)
    /// How often the host tries again when the call fails with UNAVAILABLE.
    package var retries = 0
    /// How many calls of this method run at once; none: as many as the plugin's limit.
    package var concurrency: Int?

    package static let json = "application/json"

    package init(name: String) { self.name = name }
}
