import CKnap

/// A plugin that sees every call begin and end: metrics, traces, audit. Needs the permission `observe`.
///
/// Both functions return within microseconds and make no calls.
public protocol Observing: Plugin {
    func callBegan(_ call: borrowing Observation)
    func callEnded(_ call: borrowing Observation)
}

/// A call as an observer sees it, borrowed from the host for the time of one function. Texts are read when asked for.
public struct Observation: ~Copyable {
    fileprivate let observation: UnsafePointer<knap_observation_t>

    /// Tells calls apart.
    public var call: UInt64 { observation.pointee.call }
    /// The call that this one serves; nil for the first of a chain.
    public var parent: UInt64? { observation.pointee.parent == 0 ? nil : observation.pointee.parent }
    public var caller: String { String(observation.pointee.caller) }
    public var callee: String { String(observation.pointee.callee) }
    /// "service.method".
    public var method: String { String(observation.pointee.method) }
    public var start: Deadline { Deadline(nanoseconds: observation.pointee.start_ns) }
    /// Valid when the call has ended.
    public var end: Deadline { Deadline(nanoseconds: observation.pointee.end_ns) }
    /// Why it failed; nil for success. Valid when the call has ended.
    public var failure: StatusCode? { StatusCode(status: observation.pointee.status) }
}

extension ExtensionTables {
    static func observe() -> knap_plugin_observe_t {
        knap_plugin_observe_t(
            size: UInt32(MemoryLayout<knap_plugin_observe_t>.size), reserved: 0,
            begin: { instance, call in
                guard let call else { return }
                Instance.with(instance) { $0.conformances.observing?.callBegan(Observation(observation: call)) }
            },
            end: { instance, call in
                guard let call else { return }
                Instance.with(instance) { $0.conformances.observing?.callEnded(Observation(observation: call)) }
            })
    }
}
