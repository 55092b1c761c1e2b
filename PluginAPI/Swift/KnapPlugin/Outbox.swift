import CKnap
import Synchronization

/// One end's sends: one after the other, waiting for credit where the other end gives none.
final class Outbox: Sendable {
    private let link: HostLink
    /// Held while the host takes one item, never while waiting.
    private let turn = Mutex(())
    private let credit = Wakeup()

    init(link: HostLink) { self.link = link }

    func send(_ item: Item, to call: knap_call_t) async throws(PluginError) {
        while true {
            let status = turn.withLock { _ in link.use { _ in item.send(to: call, over: link) } }
            guard let status else { throw .unloaded }
            guard let error = StatusCode(status: status) else { return }
            switch error {
            case .resourceExhausted where !Task.isCancelled: await credit.wait()
            case .resourceExhausted: throw .cancelled
            case .cancelled, .failedPrecondition:
                throw PluginError(code: .cancelled, message: "The call is over; nobody takes its items.")
            default: throw PluginError(code: error, message: "The host refused to send an item (\(error)).")
            }
        }
    }

    func creditArrived() { credit.signal() }
    /// The call is over: whoever waits for credit tries once more, and is told so.
    func end() { credit.open() }
}
