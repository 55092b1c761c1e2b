import KnapPlugin
import Synchronization

/// Sees and judges calls, and can be told to drain.
final class Guardian: Plugin, Observing, Intercepting, Draining {
    static let name = "guardian", version = "1.0.0"
    static let methods: [Method<Guardian>] = []

    init(host: PluginHost) {}

    struct Seen: Equatable {
        var method: String
        var caller: String
        var failure: StatusCode?
        var hasEnded: Bool
    }

    private let log = Mutex<[Seen]>([])
    private let drains = Mutex<[Deadline?]>([])

    var seen: [Seen] { log.withLock { $0 } }
    var drained: [Deadline?] { drains.withLock { $0 } }

    func callBegan(_ call: borrowing Observation) {
        let seen = Seen(method: call.method, caller: call.caller, failure: nil, hasEnded: false)
        log.withLock { $0.append(seen) }
    }

    func callEnded(_ call: borrowing Observation) {
        let seen = Seen(method: call.method, caller: call.caller, failure: call.failure, hasEnded: true)
        log.withLock { $0.append(seen) }
    }

    func decide(_ call: borrowing InterceptedCall, body: UnsafeRawBufferPointer) throws(PluginError) {
        guard body.first != UInt8(ascii: "!") else {
            throw PluginError(code: .permissionDenied, message: "\(call.caller) may not shout at \(call.method).")
        }
    }

    func beginDrain(deadline: Deadline) { drains.withLock { $0.append(deadline) } }
    func abandonDrain() { drains.withLock { $0.append(nil) } }
}
