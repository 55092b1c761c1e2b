import CKnap
import KnapCallEngine
import KnapPlugin

/// A lifecycle hook of a plugin, run as a call with a deadline.
struct Hook {
    /// prepare, activate or suspend, as the ABI has them.
    typealias Function = @convention(c) (UnsafeMutableRawPointer?, knap_call_t) -> Void

    /// Runs the hook and waits for its completion, or for its deadline: the hook then still holds its thread. Returns
    /// the body that it completed with.
    @discardableResult
    static func run(
        _ name: StaticString, of party: Party, _ function: Function, instance: UnsafeMutableRawPointer?,
        isBlocking: Bool = true, timeout: Duration
    ) async throws(PluginError) -> [UInt8] {
        let outcome: Result<[UInt8], PluginError> = await withCheckedContinuation { continuation in
            let waiter = HookWaiter(continuation)
            var outgoing = knap_outgoing_t()
            outgoing.size = UInt32(MemoryLayout<knap_outgoing_t>.size)
            outgoing.deadline_ns = Deadline.after(timeout).nanoseconds
            outgoing.caller = HookWaiter.table
            outgoing.context = Unmanaged.passRetained(waiter).toOpaque()
            var hook = knap_hook_t(name, function, instance, isBlocking: isBlocking)
            let status = knap_engine_hook(party.pointer, party.pointer, &hook, &outgoing, nil)
            if status != 0 {
                // Nothing was called, so the waiter is still ours.
                Unmanaged<HookWaiter>.fromOpaque(outgoing.context).release()
                let code = StatusCode(rawValue: status) ?? .unknown
                continuation.resume(returning: .failure(PluginError(code: code, message: "it could not be started")))
            }
        }
        do { return try outcome.get() } catch {
            guard error.code == .deadlineExceeded else { throw error }
            throw PluginError(code: .deadlineExceeded, message: "not done within \(timeout)")
        }
    }
}

extension knap_hook_t {
    init(_ name: StaticString, _ function: Hook.Function, _ instance: UnsafeMutableRawPointer?, isBlocking: Bool) {
        let text = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        self.init(run: function, instance: instance, name: text, is_blocking: isBlocking)
    }
}

/// Waits for the one completion of a hook.
private final class HookWaiter {
    let continuation: CheckedContinuation<Result<[UInt8], PluginError>, Never>

    init(_ continuation: CheckedContinuation<Result<[UInt8], PluginError>, Never>) { self.continuation = continuation }

    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let table = permanent(
        knap_caller_t(
            size: UInt32(MemoryLayout<knap_caller_t>.size), reserved: 0,
            complete: { context, _, result in
                guard let context, let result = result?.pointee else { return }
                let waiter = Unmanaged<HookWaiter>.fromOpaque(context).takeRetainedValue()
                if let code = StatusCode(rawValue: result.status) {
                    waiter.continuation.resume(
                        returning: .failure(PluginError(code: code, message: String(text: result.message))))
                } else {
                    let body = UnsafeBufferPointer(start: result.body.data, count: Int(result.body.size))
                    waiter.continuation.resume(returning: .success(Array(body)))
                }
            },
            item: { _, _, _ in }, credit: { _, _ in }))
}
