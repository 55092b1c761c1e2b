import CKnap

/// A plugin with work from outside that it can stop taking before it is suspended, while calls are still in flight.
public protocol Draining: Plugin {
    /// Accept no connection, end long streams with UNAVAILABLE; be done by the deadline. Returns at once.
    func beginDrain(deadline: Deadline)
    /// The drain was given up: serve on.
    func abandonDrain()
}

extension ExtensionTables {
    static func drain() -> knap_plugin_drain_t {
        knap_plugin_drain_t(
            size: UInt32(MemoryLayout<knap_plugin_drain_t>.size), reserved: 0,
            begin: { instance, deadline in
                Instance.with(instance) {
                    $0.conformances.draining?.beginDrain(deadline: Deadline(nanoseconds: deadline))
                }
            },
            abandon: { instance in Instance.with(instance) { $0.conformances.draining?.abandonDrain() } })
    }
}
