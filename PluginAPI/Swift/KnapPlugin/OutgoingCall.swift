import CKnap
import KnapJSON

/// A call under way to another plugin, in which both sides can send items.
///
///     let call = try await binding.open(bytes, parent: call)
///     try await call.send(chunk)
///     call.halfClose()
///     for try await item in call.items { … }
///     let reply = try await call.result()
///
/// Letting go of it gives the call up.
public final class OutgoingCall: ItemSource, Sendable {
    private let pending: PendingCall

    init(_ pending: PendingCall) { self.pending = pending }

    deinit { pending.cancel() }

    /// What the callee sends, until the call ends. The loop throws when the call fails. It keeps the call.
    public var items: Items { Items(source: self) }

    /// Sends one item to the callee; waits while the callee is not ready to take it.
    public func send(_ item: Item) async throws(PluginError) {
        guard let outbox = pending.outbox else {
            throw PluginError(code: .cancelled, message: "The call was opened to send nothing.")
        }
        try await outbox.send(item, to: pending.call)
    }
    /// Sends bytes to the callee as one item.
    public func send(_ bytes: [UInt8]) async throws(PluginError) { try await send(Item(bytes)) }
    /// Sends a value to the callee as one item of JSON.
    public func send(encoding value: some Encodable) async throws { try await send(Item(Body.encode(value))) }

    /// Says that no more items will be sent.
    public func halfClose() { pending.halfClose() }
    /// Gives the call up: ``items`` and ``result()`` throw CANCELLED.
    public func cancel() { pending.cancel() }
    /// The answer. Cancelling the task that waits gives the call up.
    public func result() async throws(PluginError) -> Reply { try await pending.result() }

    /// Why it has failed already, at its start for instance; nil while it goes on and when it went well.
    public var failure: PluginError? {
        if case .failure(let error) = pending.ended { error } else { nil }
    }

    /// How many items have arrived and were not taken.
    var waiting: Int { pending.inbox?.count ?? 0 }

    func nextItem() async throws(PluginError) -> Item? { try await pending.nextItem() }
}
