import CKnap
import Glibc

/// A plugin that decides whether calls may run: authorization, quotas, maintenance. Needs the permission `intercept`.
public protocol Intercepting: Plugin {
    /// Returns to let the call pass, throws to refuse it with that code and message. Takes microseconds and makes no
    /// calls. The body is borrowed until it returns.
    func decide(_ call: borrowing InterceptedCall, body: UnsafeRawBufferPointer) throws(PluginError)
}

/// A call as an interceptor sees it, borrowed from the host for the time of one decision.
public struct InterceptedCall: ~Copyable {
    fileprivate let info: UnsafePointer<knap_call_info_t>

    public var principal: String { String(info.pointee.principal) }
    public var caller: String { String(info.pointee.caller) }
    /// "service.method".
    public var method: String { String(info.pointee.method) }
    /// W3C traceparent; nil where there is none.
    public var trace: String? { info.pointee.trace.size == 0 ? nil : String(info.pointee.trace) }
    public var deadline: Deadline? {
        info.pointee.deadline_ns == 0 ? nil : Deadline(nanoseconds: info.pointee.deadline_ns)
    }
}

extension ExtensionTables {
    static func intercept() -> knap_plugin_intercept_t {
        knap_plugin_intercept_t(
            size: UInt32(MemoryLayout<knap_plugin_intercept_t>.size), reserved: 0,
            decide: { instance, call, body, message in
                guard let call else { return StatusCode.invalidArgument.rawValue }
                return Instance.with(instance) { instance in
                    let body = UnsafeRawBufferPointer(start: body.data, count: Int(body.size))
                    do throws(PluginError) {
                        try instance.conformances.intercepting?.decide(InterceptedCall(info: call), body: body)
                        return 0
                    } catch {
                        message?.pointee = RefusalText.keep(error.message)
                        return error.code.rawValue
                    }
                }
            })
    }
}

/// The message of this thread's last refusal. The host borrows it until the next decision on the thread.
private enum RefusalText {
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        pthread_key_create(&key) { free($0) }
        return key
    }()

    static func keep(_ message: String) -> knap_text_t {
        free(pthread_getspecific(key))
        let copy = strdup(message)
        pthread_setspecific(key, copy)
        return knap_text_t(data: copy, size: copy.map { UInt64(strlen($0)) } ?? 0)
    }
}
