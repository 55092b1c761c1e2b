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
    nonisolated(nonsending) public func call(
        bytes: [UInt8], parent: Call?, principal: String? = nil, trace: String? = nil, deadline: Deadline? = nil
    ) async throws(PluginError) -> Reply {
        let pending = PendingCall(link: link)
        try start(pending, bytes, parent, principal, trace, deadline)
        return try await pending.result()
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
        let pending = PendingCall(link: link, receiving: window, sends: sends)
        try start(pending, bytes, parent, principal, trace, deadline)
        return OutgoingCall(pending)
    }

    private func start(
        _ pending: PendingCall, _ body: [UInt8], _ parent: Call?, _ principal: String?, _ trace: String?, _ deadline: Deadline?
    ) throws(PluginError) {
        guard let services = link.extensions.services else { throw .missing(KNAP_EXT_SERVICES) }
        let context = Unmanaged.passRetained(pending)
        var outgoing = knap_outgoing_t()
        outgoing.size = UInt32(MemoryLayout<knap_outgoing_t>.size)
        outgoing.flags = pending.outbox == nil ? 0 : UInt32(KNAP_OUTGOING_STREAMS)
        outgoing.parent = parent?.handle ?? 0
        outgoing.deadline_ns = deadline?.nanoseconds ?? 0
        outgoing.credit = pending.inbox.map(\.window) ?? 0
        outgoing.caller = CallerTable.pointer
        outgoing.context = context.toOpaque()
        var handle: knap_call_t = 0
        let status = link.use { host in
            body.withBytes { body in
                outgoing.body = body
                guard principal != nil || trace != nil else { return services.pointee.call(host, binding, &outgoing, &handle) }
                return (principal ?? "").withText { principal in
                    (trace ?? "").withText { trace in
                        outgoing.principal = principal
                        outgoing.trace = trace
                        return services.pointee.call(host, binding, &outgoing, &handle)
                    }
                }
            }
        }
        guard status == 0 else {
            context.release()  // Nothing was called, so `complete` will not give it back.
            guard let status else { throw .unloaded }
            return try PluginError.check(status, "call \(method)")
        }
        pending.started(handle)
    }
}
