import CKnap
import KnapJSON

/// A way to one method of another plugin.
///
/// While nobody provides the method, calls fail with UNAVAILABLE. A call with a parent carries the parent's principal
/// and trace, and ends no later than it; cancelling the calling task cancels the call.
public final class Binding: Sendable {
    /// "service.method".
    public let method: String
    let link: HostLink
    private let binding: knap_binding_t

    init(_ method: String, range: String, link: HostLink) throws(PluginError) {
        self.method = method
        self.link = link
        binding = try link.use(link.extensions.services, KNAP_EXT_SERVICES) { host, table throws(PluginError) in
            var binding: knap_binding_t = 0
            let status = method.withText { method in range.withText { table.bind(host, method, $0, &binding) } }
            try PluginError.check(status, "bind \(method)")
            return binding
        }
    }

    deinit {
        _ = link.use { host in link.extensions.services?.pointee.unbind(host, binding) }
    }

    /// Calls with a value and waits for the answer as a value.
    public func call<In: Encodable, Out: Decodable>(
        _ input: In, as output: Out.Type = Out.self, parent: Call?, deadline: Deadline? = nil
    ) async throws -> Out {
        let reply = try await call(bytes: Body.encode(input), parent: parent, deadline: deadline)
        return try Body.decode(Out.self, from: reply.body, of: "The answer of \(method)", code: .internal)
    }

    /// Calls with bytes and waits for the answer.
    ///
    /// - Parameters:
    ///   - parent: The call being served, or nil for work of the plugin's own.
    ///   - principal: On whose behalf, for a call without a parent; needs the permission `assert_principal`.
    ///   - trace: W3C traceparent, for a call without a parent.
    public func call(
        bytes: [UInt8], parent: Call?, principal: String? = nil, trace: String? = nil, deadline: Deadline? = nil
    ) async throws(PluginError) -> Reply {
        let request = Request(
            body: bytes, parent: parent, principal: principal, trace: trace, deadline: deadline, window: 0,
            streams: false)
        return try await start(request).result()
    }

    /// Opens a call to which items can be sent, and which may send items itself.
    ///
    /// - Parameters:
    ///   - window: How many items the other end may be ahead of the loop over ``OutgoingCall/items``.
    ///   - sends: False: the request is all that will be sent. Only such a call can be made again for its caller, by the
    ///     same provider or by one that stands in for it, when it fails.
    public func open(
        _ bytes: [UInt8] = [], parent: Call?, principal: String? = nil, trace: String? = nil,
        deadline: Deadline? = nil, window: Int = 16, sends: Bool = true
    ) async throws(PluginError) -> OutgoingCall {
        let request = Request(
            body: bytes, parent: parent, principal: principal, trace: trace, deadline: deadline, window: window,
            streams: sends)
        return OutgoingCall(try start(request))
    }

    private struct Request {
        let body: [UInt8]
        let parent: Call?
        let principal: String?
        let trace: String?
        let deadline: Deadline?
        let window: Int
        let streams: Bool
    }

    private func start(_ request: Request) throws(PluginError) -> PendingCall {
        try link.use(link.extensions.services, KNAP_EXT_SERVICES) { host, table throws(PluginError) in
            let pending = PendingCall(link: link, window: request.window)
            let context = Unmanaged.passRetained(pending)
            var outgoing = knap_outgoing_t()
            outgoing.size = UInt32(MemoryLayout<knap_outgoing_t>.size)
            outgoing.flags = request.streams ? UInt32(KNAP_OUTGOING_STREAMS) : 0
            outgoing.parent = request.parent?.handle ?? 0
            outgoing.deadline_ns = request.deadline?.nanoseconds ?? 0
            outgoing.credit = pending.inbox.map(\.window) ?? 0
            outgoing.caller = CallerTable.pointer
            outgoing.context = context.toOpaque()
            var handle: knap_call_t = 0
            let status = request.body.withBytes { body in
                (request.principal ?? "").withText { principal in
                    (request.trace ?? "").withText { trace in
                        outgoing.body = body
                        outgoing.principal = principal
                        outgoing.trace = trace
                        return table.call(host, binding, &outgoing, &handle)
                    }
                }
            }
            if status != 0 { context.release() }  // Nothing was called, so `complete` will not give it back.
            try PluginError.check(status, "call \(method)")
            pending.started(handle)
            return pending
        }
    }
}
