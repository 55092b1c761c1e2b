import CKnap
import KnapJSON
import Synchronization

/// A call that this plugin made, whose end the host tells exactly once.
///
/// The host holds a reference from the start until then (the context of `knap_caller_t`), so the end is never told to
/// something that is gone, and a continuation that waits for it is always resumed.
final class PendingCall: Sendable {
    private enum State {
        case pending([UnsafeContinuation<Void, Never>])
        case ended(Result<Reply, PluginError>)
    }

    let link: HostLink
    /// Nil for a call whose items nobody wants.
    let inbox: Inbox?
    /// Nil for a call that sends nothing but its request.
    let outbox: Outbox?
    private let handle = Atomic<knap_call_t>(0)
    private let state = Mutex(State.pending([]))

    init(link: HostLink, receiving window: Int = 0, sends: Bool = false) {
        self.link = link
        inbox = window > 0 ? Inbox(window: window) : nil
        outbox = sends ? Outbox(link: link) : nil
    }

    /// The host took the call. It may have ended already.
    func started(_ handle: knap_call_t) { self.handle.store(handle, ordering: .releasing) }

    var call: knap_call_t { handle.load(ordering: .acquiring) }

    /// Takes the next item and lets the callee send more.
    func nextItem() async throws(PluginError) -> Item? {
        try await inbox?.next { credit in
            _ = link.use { host in link.calls.pointee.grant(host, call, credit) }
        }
    }

    /// Waits for the end. Cancelling the task gives the call up, and the host then ends it as CANCELLED.
    nonisolated(nonsending) func result() async throws(PluginError) -> Reply {
        if let result = ended { return try result.get() }
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let isOver = state.withLock { state in
                    guard case .pending(let others) = state else { return true }
                    state = .pending(others + [continuation])
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            cancel()
        }
        // Resumed by `end` alone, which sets the result first.
        return try (ended ?? .failure(.cancelled)).get()
    }

    /// How it ended; nil while it goes on.
    var ended: Result<Reply, PluginError>? {
        state.withLock { if case .ended(let result) = $0 { result } else { nil } }
    }

    /// Gives the call up; refused harmlessly by the host when it is over.
    func cancel() {
        _ = link.use { host in link.calls.pointee.cancel(host, call) }
    }

    func halfClose() {
        _ = link.use { host in link.calls.pointee.half_close(host, call) }
    }

    fileprivate func end(_ result: Result<Reply, PluginError>) {
        let waiting = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            guard case .pending(let waiting) = state else { return [] }
            state = .ended(result)
            return waiting
        }
        if case .failure(let error) = result { inbox?.finish(error) } else { inbox?.finish() }
        outbox?.end()
        for continuation in waiting { continuation.resume() }
    }
}

extension Result<Reply, PluginError> {
    init(_ result: knap_result_t) {
        let body = [UInt8](result.body)
        guard let code = StatusCode(status: result.status) else {
            self = .success(Reply(body, contentType: result.content_type.size == 0 ? nil : String(result.content_type)))
            return
        }
        let details = body.isEmpty ? nil : try? JSON.parse(body)
        self = .failure(PluginError(code: code, message: String(result.message), details: details))
    }
}

/// What the host tells a caller; the context is a retained `PendingCall` that `complete` gives back.
enum CallerTable {
    // Written once, before anyone can see it, and never freed: the host may read it as long as the library is loaded.
    nonisolated(unsafe) static let pointer: UnsafePointer<knap_caller_t> = {
        let table = UnsafeMutablePointer<knap_caller_t>.allocate(capacity: 1)
        table.initialize(
            to: knap_caller_t(
                size: UInt32(MemoryLayout<knap_caller_t>.size), reserved: 0,
                complete: { context, _, result in
                    guard let context else { return }
                    let pending = Unmanaged<PendingCall>.fromOpaque(context).takeRetainedValue()
                    pending.end(result.map { Result($0.pointee) } ?? .success(Reply()))
                },
                item: { context, _, item in
                    guard let context, let item else { return }
                    let pending = Unmanaged<PendingCall>.fromOpaque(context).takeUnretainedValue()
                    pending.inbox?.push(Item(item.pointee))
                },
                credit: { context, _ in
                    guard let context else { return }
                    Unmanaged<PendingCall>.fromOpaque(context).takeUnretainedValue().outbox?.creditArrived()
                }))
        return UnsafePointer(table)
    }()
}
