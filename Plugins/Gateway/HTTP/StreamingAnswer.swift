import KnapJSON
import NIOCore
import NIOHTTP1
import Synchronization

/// The answer to a request that may become a stream: it is one from the first piece on, and whole where the end comes
/// before any.
///
/// Whoever sends waits while the client does not read, so nothing piles up here.
final class StreamingAnswer: Sendable {
    private enum Progress {
        case undecided
        case streaming
        case over
    }

    private let exchange: HTTPExchange
    private let head: HTTPResponseHead
    private let prime: ByteBuffer?
    private let heartbeat: Heartbeat?
    private let progress = Mutex(Progress.undecided)

    /// - Parameters:
    ///   - head: Of the stream.
    ///   - prime: What opens the stream.
    ///   - heartbeat: Keeps a stream of events alive, and makes one of what takes long; nil for other streams.
    init(
        to exchange: HTTPExchange, head: HTTPResponseHead = ServerSentEvent.streamHead, prime: ByteBuffer? = nil,
        _ heartbeat: Heartbeat?
    ) {
        self.exchange = exchange
        self.head = head
        self.prime = prime
        self.heartbeat = heartbeat
        heartbeat?.add(self)
    }

    deinit { heartbeat?.remove(self) }

    /// Begins the stream, whether or not there is something to be sent yet.
    func begin() { progress.withLock { open(&$0) } }

    /// Sends a piece. Returns when there is room for another one, or the client has left.
    func send(_ bytes: ByteBuffer) async {
        put(bytes)
        await room()
    }

    /// Sends a piece; whoever has more waits for room first.
    func put(_ bytes: ByteBuffer) {
        begin()
        exchange.write(bytes)
    }

    func room() async { await exchange.room() }

    /// Answers whole. False where something was sent before.
    func answer(whole answer: Answer) -> Bool {
        let isFirst = progress.withLock { progress in
            guard case .undecided = progress else { return false }
            progress = .over
            return true
        }
        if isFirst { exchange.send(answer) }
        return isFirst
    }

    /// Ends the stream. Where none has begun there is nothing to say, and HTTP wants an answer nevertheless.
    func finish() {
        switch end() {
        case .undecided: exchange.send(Answer(status: 202))
        case .streaming: exchange.finish()
        case .over: break
        }
    }

    /// Ends the stream so that the client sees that it is not whole.
    func breakOff() { if case .streaming = end() { exchange.breakOff() } }

    private func end() -> Progress {
        progress.withLock { progress in
            defer { progress = .over }
            return progress
        }
    }

    /// Under the lock, so that nothing goes out before the head.
    private func open(_ progress: inout Progress) {
        guard case .undecided = progress else { return }
        progress = .streaming
        exchange.begin(head)
        if let prime { exchange.write(prime) }
    }
}

extension StreamingAnswer: KeptAlive {
    func keepAlive() {
        let isOpen = progress.withLock { progress in
            open(&progress)
            if case .streaming = progress { return true }
            return false
        }
        if isOpen { exchange.offer(ServerSentEvent.keepAlive) }
    }
}
