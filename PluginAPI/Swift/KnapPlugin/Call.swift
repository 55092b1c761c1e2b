import CKnap
import KnapJSON
import Synchronization

/// A call that this plugin serves: who is asking, until when, and how to tell the caller how it goes.
///
/// The task that serves a call is cancelled when its caller gave up or its deadline passed. Pass the call as `parent`
/// to the calls made on its behalf: they then carry its principal, its trace and its deadline.
///
/// Not `open`: ``DuplexCall`` is the only subclass, so what holds here holds for every call.
public class Call: @unchecked Sendable {  // All stored properties are immutable or guarded by `state`.
    private struct State {
        var task: Task<Void, Never>?
        var cancellation: StatusCode?
        var hasEnded = false
    }

    let handle: knap_call_t
    let link: HostLink
    private let state = Mutex(State())

    init(_ handle: knap_call_t, link: HostLink) {
        self.handle = handle
        self.link = link
    }

    // What the subclass hears of; a unary call's caller sends nothing.
    func received(_ item: Item) {}
    func inputEnded() {}
    func creditArrived() {}
    func ended(_ error: PluginError?) {}
}

// MARK: - What the host knows

extension Call {
    /// On whose behalf the call runs, as the host recorded it where the chain of calls began.
    public var principal: String { info { String($0.principal) } ?? "" }
    /// W3C traceparent; nil where there is none.
    public var trace: String? { info { $0.trace.size == 0 ? nil : String($0.trace) } ?? nil }
    /// The calling plugin's name.
    public var caller: String { info { String($0.caller) } ?? "" }
    /// "service.method".
    public var method: String { info { String($0.method) } ?? "" }
    /// When the host stops waiting for an answer; nil for never.
    public var deadline: Deadline? {
        info { $0.deadline_ns == 0 ? nil : Deadline(nanoseconds: $0.deadline_ns) } ?? nil
    }
    /// Whether the caller gave up or the deadline passed.
    public var isCancelled: Bool { state.withLock { $0.cancellation != nil } }

    /// Reads what the host knows; nil once the call has ended. The lock keeps the call from ending meanwhile, because
    /// the host's texts live no longer than the call.
    private func info<R>(_ read: (knap_call_info_t) -> R) -> R? {
        state.withLock { state in
            guard !state.hasEnded else { return nil }
            var info = knap_call_info_t()
            info.size = UInt32(MemoryLayout<knap_call_info_t>.size)
            guard calls.info(link.host, handle, &info) == 0 else { return nil }
            return read(info)
        }
    }

    var calls: knap_calls_t { link.calls.pointee }
}

// MARK: - To the caller

extension Call {
    /// Tells the caller how far the work is. Dropped where the caller is not interested.
    public func progress(_ done: Double, of total: Double? = nil, _ message: String? = nil) {
        var body = JSONObject()
        body["progress"] = JSONNumber(done).map(JSON.number)
        body["total"] = total.flatMap { JSONNumber($0) }.map(JSON.number)
        body["message"] = message.map(JSON.string)
        note(.progress, .object(body))
    }

    /// Sends a log record to the caller, such as a person at an AI client. Records for the operator go to
    /// ``PluginHost/log``.
    public func log(
        _ level: LogLevel, _ message: String, _ fields: KeyValuePairs<String, any CustomStringConvertible> = [:]
    ) {
        var body = JSONObject()
        body["level"] = .string(level.name)
        body["message"] = .string(message)
        for (key, value) in fields where key != "level" && key != "message" { body[key] = .string("\(value)") }
        note(.log, .object(body))
    }

    private func note(_ kind: Item.Kind, _ json: JSON) {
        _ = link.use { _ in Item(kind, json: json).send(to: handle, over: link) }
    }
}

// MARK: - Serving

extension Call {
    /// Serves the call in a task of its own, which completes it whatever happens.
    ///
    /// The task inherits nothing from the caller's thread: in one process that may be another plugin's task.
    final func serve(_ operation: @escaping @Sendable () async throws -> Reply) {
        listen()
        let task = Task.detached { [self] in
            let responder = Responder(self)
            let outcome: Result<Reply, PluginError>
            do {
                outcome = .success(try await operation())
            } catch {
                outcome = .failure(PluginError(mapping: error, cancellation: state.withLock { $0.cancellation }))
            }
            responder.complete(outcome)
        }
        let isLate = state.withLock { state in
            if !state.hasEnded { state.task = task }
            return state.cancellation != nil
        }
        if isLate { task.cancel() }
    }

    /// Serves the call on this thread and completes it whatever happens.
    final func serveHere(_ operation: () throws -> Reply) {
        listen()
        let responder = Responder(self)
        let outcome: Result<Reply, PluginError>
        do {
            outcome = .success(try operation())
        } catch {
            outcome = .failure(PluginError(mapping: error, cancellation: state.withLock { $0.cancellation }))
        }
        responder.complete(outcome)
    }

    private func listen() {
        let context = Unmanaged.passRetained(self)
        let status = calls.listen(link.host, handle, CalleeTable.pointer, context.toOpaque())
        // Only a call that is being listened to gets `closed`, which gives the reference back.
        if status != 0 { context.release() }
    }

    fileprivate func cancel(_ reason: StatusCode) {
        let task = state.withLock { state in
            state.cancellation = state.cancellation ?? reason
            return state.task
        }
        ended(PluginError(mapping: CancellationError(), cancellation: reason))
        task?.cancel()
    }

    fileprivate func end() {
        state.withLock { state in
            state.hasEnded = true
            state.task = nil
        }
        ended(nil)
    }
}

/// The duty to complete a call, which cannot be copied and is done exactly once: by `complete`, which consumes it, or
/// when it goes out of scope.
struct Responder: ~Copyable {
    private var call: Call?

    init(_ call: Call) { self.call = call }

    consuming func complete(_ outcome: Result<Reply, PluginError>) {
        guard let call = call.take() else { return }
        Self.complete(call, outcome)
    }

    deinit {
        guard let call else { return }
        Self.complete(call, .failure(PluginError(code: .internal, message: "The method gave no answer.")))
    }

    /// The host's pointer needs no guard here: an instance is not destroyed while it serves a call.
    private static func complete(_ call: Call, _ outcome: Result<Reply, PluginError>) {
        call.end()
        withResult(outcome) { _ = call.calls.complete(call.link.host, call.handle, $0) }
    }

    private static func withResult(
        _ outcome: Result<Reply, PluginError>, _ body: (UnsafePointer<knap_result_t>) -> Void
    ) {
        var result = knap_result_t()
        result.size = UInt32(MemoryLayout<knap_result_t>.size)
        switch outcome {
        case .success(let reply):
            reply.body.withBytes { bytes in
                (reply.contentType ?? "").withText { type in
                    result.body = bytes
                    result.content_type = type
                    body(&result)
                }
            }
        case .failure(let error):
            (error.details.map { Reply(json: $0).body } ?? []).withBytes { details in
                error.message.withText { message in
                    result.status = error.code.rawValue
                    result.body = details
                    result.message = message
                    body(&result)
                }
            }
        }
    }
}

/// What the host tells a callee; the context is a retained `Call` that `closed` gives back.
private enum CalleeTable {
    // Written once, before anyone can see it, and never freed: the host may read it as long as the library is loaded.
    nonisolated(unsafe) static let pointer: UnsafePointer<knap_callee_t> = {
        let table = UnsafeMutablePointer<knap_callee_t>.allocate(capacity: 1)
        table.initialize(
            to: knap_callee_t(
                size: UInt32(MemoryLayout<knap_callee_t>.size), reserved: 0,
                item: { context, _, item in
                    if let item { call(context).received(Item(item.pointee)) }
                },
                half_close: { context, _ in call(context).inputEnded() },
                credit: { context, _ in call(context).creditArrived() },
                cancel: { context, _, reason in call(context).cancel(StatusCode(status: reason) ?? .cancelled) },
                closed: { context in
                    if let context { Unmanaged<Call>.fromOpaque(context).release() }
                }))
        return UnsafePointer(table)
    }()

    private static func call(_ context: UnsafeMutableRawPointer?) -> Call {
        // The context is what `listen` was given, never null.
        Unmanaged<Call>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
    }
}
