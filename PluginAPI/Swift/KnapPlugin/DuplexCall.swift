import CKnap
import KnapJSON

/// A call in which both sides send items while it lasts.
///
///     func chat(_ input: Room, _ call: DuplexCall) async throws -> Summary {
///         for try await item in call.items { try await call.send(answer(item)) }
///         return summary
///     }
public final class DuplexCall: Call, ItemSource, @unchecked Sendable {  // As `Call`: immutable properties only.
    private let inbox: Inbox
    private let outbox: Outbox

    init(_ handle: knap_call_t, link: HostLink, window: Int) {
        inbox = Inbox(window: window)
        outbox = Outbox(link: link)
        super.init(handle, link: link)
    }

    /// What the caller sends, until it half-closes.
    public var items: Items { Items(source: self) }

    /// Sends one item to the caller; waits while the caller is not ready to take it.
    public func send(_ item: Item) async throws(PluginError) { try await outbox.send(item, to: handle) }
    /// Sends bytes to the caller as one item.
    public func send(_ bytes: [UInt8]) async throws(PluginError) { try await send(Item(bytes)) }
    /// Sends a value to the caller as one item of JSON.
    public func send(encoding value: some Encodable) async throws { try await send(Item(Body.encode(value))) }

    /// Lets the caller send its first window of items.
    func open() { grant(inbox.window) }

    func nextItem() async throws(PluginError) -> Item? { try await inbox.next { grant($0) } }

    private func grant(_ credit: UInt32) {
        _ = link.use { host in link.calls.pointee.grant(host, handle, credit) }
    }

    override func received(_ item: Item) { inbox.push(item) }
    override func inputEnded() { inbox.finish() }
    override func creditArrived() { outbox.creditArrived() }
    override func ended(_ error: PluginError?) {
        inbox.finish(error)
        outbox.end()
    }
}
