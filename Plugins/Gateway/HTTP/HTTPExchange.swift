import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1
import Synchronization

/// A request over HTTP and the way to answer it, from any thread.
///
/// It is answered either whole, by ``send(_:)``, or as a stream, from ``begin(_:)`` to ``finish()``. Of the two, and
/// of everything after the client has left, the first counts and the rest is nothing.
final class HTTPExchange: Sendable {
    /// What there is of a request's body.
    enum Body: Sendable {
        case whole([UInt8])
        /// Larger than was asked for.
        case tooLarge
        /// The requests that are served now take all the memory that there is for them.
        case busy
        /// The client has left, or was answered.
        case gone
    }

    private struct State {
        var task: Task<Void, Never>?
        var ended: (@Sendable () -> Void)?
        var isOver = false
        /// What was written and has not gone out, in bytes.
        var unread = 0
        var writers: [CheckedContinuation<Void, Never>] = []
        /// Its part of the memory for bodies.
        var share = 0
    }

    /// Whoever writes waits while more than this has not gone out.
    private static let window = 64 * 1024

    let request: HTTPRequest
    /// The part of the target before the question mark, and the one after.
    let path: String, query: String?
    private let connection: NIOLoopBound<HTTPConnection>
    private let eventLoop: any EventLoop
    private let bodies: BodyBudget
    private let state = Mutex(State())

    init(
        _ request: HTTPRequest, connection: NIOLoopBound<HTTPConnection>, on eventLoop: any EventLoop, bodies: BodyBudget
    ) {
        self.request = request
        let target = request.path ?? "/"
        let mark = target.utf8.firstIndex(of: UInt8(ascii: "?"))
        path = mark.map { String(target[..<$0]) } ?? target
        query = mark.map { String(target[target.utf8.index(after: $0)...]) }
        self.connection = connection
        self.eventLoop = eventLoop
        self.bodies = bodies
    }

    // MARK: - The request

    /// The whole body, if it is no larger than the limit. A client that waits to be told to send it is told so.
    func body(upTo limit: Int) async -> Body {
        // The parser has checked that it is a number, which may be larger than an Int.
        if let length = request.headerFields[.contentLength], Int(length) ?? .max > limit { return .tooLarge }
        return await withCheckedContinuation { reader in
            onLoop { $0.wantBody(upTo: limit, of: self, reader) }
        }
    }

    /// Takes a part of the memory for bodies, for as long as the exchange is held. False where there is no more.
    func reserve(_ size: Int) -> Bool { state.withLock { bodies.grow(&$0.share, to: size) } }

    deinit { bodies.giveBack(state.withLock { $0.share }) }

    // MARK: - The answer

    func send(_ answer: Answer) { onLoop { $0.send(answer, for: self) } }

    /// Begins an answer that is a stream.
    func begin(_ head: HTTPResponseHead) { onLoop { $0.begin(head, for: self) } }

    /// Sends a piece of the stream. Whoever has another one waits until there is room for it.
    func write(_ bytes: ByteBuffer) {
        guard count(bytes) else { return }
        onLoop { $0.write(bytes, for: self) }
    }

    /// Returns when the client has read enough that more may be sent, or has left.
    func room() async {
        await withCheckedContinuation { (writer: CheckedContinuation<Void, Never>) in
            let mayGoOn = state.withLock { state in
                if state.isOver || state.unread <= Self.window { return true }
                state.writers.append(writer)
                return false
            }
            if mayGoOn { writer.resume() }
        }
    }

    /// Sends a piece of the stream if everything before it has gone out, else drops it.
    func offer(_ bytes: ByteBuffer) {
        guard state.withLock({ $0.unread == 0 }), count(bytes) else { return }
        onLoop { $0.write(bytes, for: self) }
    }

    private func count(_ bytes: ByteBuffer) -> Bool {
        state.withLock { state in
            if state.isOver { return false }
            state.unread += bytes.readableBytes
            return true
        }
    }

    /// Ends the stream.
    func finish() { onLoop { $0.finish(self) } }

    /// Ends the stream so that the client sees that it is not whole.
    func breakOff() { onLoop { $0.breakOff(self) } }

    /// Sets what is done, once, when the answer is written or the client has left; at once if that has been.
    func whenOver(_ action: @escaping @Sendable () -> Void) {
        let isOver = state.withLock { state in
            if !state.isOver { state.ended = action }
            return state.isOver
        }
        if isOver { action() }
    }

    /// Cancels the task that answers.
    func giveUp() { state.withLock { $0.task }?.cancel() }

    private func onLoop(_ work: @escaping @Sendable (HTTPConnection) -> Void) {
        eventLoop.execute { [connection] in work(connection.value) }
    }
}

// MARK: - For the connection

extension HTTPExchange {
    /// Runs the task that answers, which is cancelled when the client leaves.
    func serve(_ respond: @escaping HTTPConnection.Responder) {
        // Under the lock, so that it cannot end before it is registered.
        state.withLock { state in
            state.task = Task {
                await respond(self)
                self.state.withLock { $0.task = nil }
            }
        }
    }

    /// So many bytes have gone out.
    func wrote(_ count: Int) {
        let writers = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.unread -= count
            guard state.unread <= Self.window else { return [] }
            defer { state.writers = [] }
            return state.writers
        }
        for writer in writers { writer.resume() }
    }

    /// All of the answer is written.
    func finished() { end() }

    /// The client has left, or is not listened to any more.
    func clientLeft() { end()?.cancel() }

    /// Answers the task that may still be at work.
    @discardableResult
    private func end() -> Task<Void, Never>? {
        let (task, ended, writers) = state.withLock { state in
            defer {
                state.isOver = true
                state.task = nil
                state.ended = nil
                state.writers = []
            }
            return (state.task, state.ended, state.writers)
        }
        for writer in writers { writer.resume() }
        ended?()
        return task
    }
}

extension HTTPRequest {
    /// Nil where the method is none.
    init?(_ head: HTTPRequestHead) {
        guard let method = Method(head.method.rawValue) else { return nil }
        self.init(
            method: method, scheme: nil, authority: head.headers.first(name: "host"),
            path: RequestRefusal.path(of: head.uri), headerFields: HTTPFields(head.headers, splitCookie: false))
    }
}
