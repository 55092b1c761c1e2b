import CKnap
import KnapBlackBox
import KnapCallEngine
import KnapLink
import KnapPlugin

/// The process's call engine (Host/CallEngine): every call between plugins, and into and out of the host, goes through it.
///
/// It lives as long as the process: plugins hold pointers into it that only an exit makes safe to forget.
package final class CallEngine: Sendable {
    // The C engine is safe on any thread.
    nonisolated(unsafe) let pointer: OpaquePointer
    /// The thread that takes what workers send; safe on any thread.
    nonisolated(unsafe) let poller: OpaquePointer

    package init() {
        guard let poller = knap_poller_create() else { fatalError("no thread or memory for the workers' poller") }
        self.poller = poller
        guard let engine = knap_engine_create(nil) else { fatalError("out of memory while the call engine was made") }
        pointer = engine
        knap_black_box_engine(engine)
    }

    /// Has `watchdog` told of code of plugins in this process that does not return; once.
    func watch(_ watchdog: Watchdog, hangAfter limit: Duration) {
        hang(after: limit)
        let isWatching = knap_engine_watch(
            pointer,
            { context, held in
                guard let context, let held = held?.pointee, let stage = Watchdog.Stage(rawValue: held.stage.rawValue) else { return }
                let running = held.running
                Unmanaged<Watchdog>.fromOpaque(context).takeUnretainedValue().note(
                    Watchdog.Held(
                        method: String(cString: running.what), stage: stage, lasted: .nanoseconds(Int64(clamping: held.lasted_ns))),
                    plugin: String(cString: running.plugin), generation: Int(running.generation))
            }, Unmanaged.passRetained(watchdog).toOpaque())  // as long as the process, like the engine
        guard isWatching else { fatalError("no thread for the watchdog") }
    }

    /// What has not returned for so long hangs.
    func hang(after limit: Duration) { knap_engine_watchdog(pointer, limit.wholeNanoseconds) }

    /// What a party is called, how much it may serve at once and what it may say.
    struct PartyOptions {
        var name: String
        /// Of the plugin's code in this process; 0: none of it is here.
        var generation = 0
        var limits = Limits()
        var assertsPrincipal = false
    }

    /// Makes a party whose extension tables find `context` again, which it holds until it is retired.
    func makeParty(_ options: PartyOptions, context: InstanceContext) -> Party {
        let party = options.name.withCString { name in
            var config = knap_party_config_t()
            config.name = name
            config.`extension` = { host, id in
                guard let host, let id else { return nil }
                return ExtensionTables.table(String(cString: id), for: host)
            }
            config.context = Unmanaged.passRetained(context).toOpaque()
            config.set(options.limits)
            config.generation = UInt32(clamping: options.generation)
            config.assert_principal = options.assertsPrincipal ? 1 : 0
            return knap_party_create(pointer, &config)
        }
        guard let party else { fatalError("out of memory while the party \(options.name) was made") }
        return Party(pointer: party)
    }

    /// Holds back calls to these parties from now on; nil when memory is exhausted.
    func closeGate(of parties: [Party]) -> Gate? {
        let pointers: [OpaquePointer?] = parties.map(\.pointer)
        return pointers.withUnsafeBufferPointer {
            knap_gate_close(pointer, $0.baseAddress, UInt32($0.count)).map { Gate(pointer: $0) }
        }
    }

    /// The route of a method's full name; the same for the same name, for ever.
    func route(named name: String) -> Route {
        guard let route = knap_route_named(pointer, name) else { fatalError("out of memory while \(name) was routed") }
        return Route(pointer: route)
    }

    /// From the next call on, `provision` serves the route; nil: nobody does.
    func provide(_ route: Route, _ provision: knap_provision_t?) {
        guard var provision else { return knap_route_provide(pointer, route.pointer, nil) }
        knap_route_provide(pointer, route.pointer, &provision)
    }

    /// From the next call on, `provision` stands in for who serves the route; nil: nobody does.
    func provideFallback(_ route: Route, _ provision: knap_provision_t?) {
        guard var provision else { return knap_route_provide_fallback(pointer, route.pointer, nil) }
        knap_route_provide_fallback(pointer, route.pointer, &provision)
    }

    /// Sets who observes and intercepts calls, in order.
    /// Who sees and judges calls. With a reason, nothing from outside gets in but to the party that mends it.
    func setHooks(_ hooks: [knap_hooked_t], closed reason: String?, but open: Party?) {
        hooks.withUnsafeBufferPointer { hooks in
            guard let reason else { return knap_engine_hooks(pointer, hooks.baseAddress, UInt32(hooks.count), nil) }
            reason.withCString {
                var closure = knap_closure_t(reason: $0, open: open?.pointer)
                knap_engine_hooks(pointer, hooks.baseAddress, UInt32(hooks.count), &closure)
            }
        }
    }
}

/// Calls wait here while their party is replaced; see knap_engine.h.
struct Gate: Sendable {
    nonisolated(unsafe) let pointer: OpaquePointer  // freed with the engine, safe on any thread

    /// Lets the waiting calls go on where their routes lead now; runs them on the calling thread, which must be one that
    /// may block.
    func open() { knap_gate_open(pointer) }
    var waiting: Int { Int(knap_gate_waiting(pointer)) }
}

/// The name of a method, and whoever serves it.
struct Route: Sendable {
    nonisolated(unsafe) let pointer: OpaquePointer  // never freed, safe on any thread
}

/// One that calls and is called: a generation of a plugin, or the host itself.
struct Party: Sendable {
    nonisolated(unsafe) let pointer: OpaquePointer  // always a party, safe on any thread

    var host: UnsafePointer<knap_host_t> { knap_party_host(pointer) }

    /// Lets calls in.
    func open() { knap_party_open(pointer, 1) }
    /// Whether calls wait at a gate before it.
    var isGated: Bool { knap_party_gated(pointer) }
    /// Answers new calls with UNAVAILABLE.
    func close() { knap_party_open(pointer, 0) }

    /// Gives up the party of a generation whose code is gone; the next one of the same name gets it.
    func retire() {
        guard let context = knap_party_retire(pointer) else { return }
        Unmanaged<InstanceContext>.fromOpaque(context).release()
    }

    /// Applies the limits of the generation that is to serve from now on.
    func limit(_ limits: Limits) {
        var config = knap_party_config_t()
        config.set(limits)
        knap_party_limit(pointer, &config)
    }

    var counts: knap_party_counts_t {
        var counts = knap_party_counts_t()
        knap_party_count(pointer, &counts)
        return counts
    }

    /// Answers the callers of all calls in flight here in the plugin's stead and tells it to stop. Runs callers'
    /// continuations: on a thread that may block.
    func endCalls(_ code: StatusCode, _ message: String, details: String) {
        var (message, details) = (message, details)
        message.withUTF8 { message in
            details.withUTF8 { details in
                var result = knap_result_t()
                result.size = UInt32(MemoryLayout<knap_result_t>.size)
                result.status = code.rawValue
                result.body = knap_bytes_t(data: details.baseAddress, size: UInt64(details.count))
                message.withMemoryRebound(to: CChar.self) {
                    result.message = knap_text_t(data: $0.baseAddress, size: UInt64($0.count))
                }
                knap_party_end_calls(pointer, &result)
            }
        }
    }

    /// A right of this party to call the route; 0 when it has too many.
    func bind(_ route: Route) -> UInt64 { knap_party_bind(pointer, route.pointer) }
}

extension knap_party_config_t {
    fileprivate mutating func set(_ limits: Limits) {
        in_flight = UInt32(clamping: limits.inFlight)
        queue = UInt32(clamping: limits.queue)
        breaker_failures = UInt32(clamping: limits.breaker?.failures ?? 0)
        breaker_period_ns = limits.breaker?.period.wholeNanoseconds ?? 0
        breaker_open_ns = limits.breaker?.open.wholeNanoseconds ?? 0
        breaker_changed = { host, state in
            guard let host else { return }
            let context = InstanceContext.of(host)
            if state == KNAP_BREAKER_OPEN {
                context.logger.warning("circuit breaker opened: its calls fail at once for a while")
            } else {
                context.logger.notice("circuit breaker closed")
            }
        }
    }
}

extension Duration {
    /// Clamped to what an ABI time holds; 0 for a negative one.
    var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (product, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : product &+ UInt64(attoseconds / 1_000_000_000)
    }
}
