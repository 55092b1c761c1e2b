import CKnap
import KnapCallEngine

/// `knap.timers/1`: straight to the engine.
enum TimersExtension {
    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let table = permanent(
        knap_host_timers_t(
            size: size(of: knap_host_timers_t.self), reserved: 0, start: knap_engine_timer, stop: knap_engine_timer_stop
        ))
}
