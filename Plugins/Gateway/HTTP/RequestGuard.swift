import NIOCore
import NIOHTTP1

/// Stands between one connection's parser and the requests that are served.
///
/// What is not plainly HTTP is refused, what takes too long ends the connection, and a response is made what the request's
/// version and method let it be. Hummingbird serves the requests one after the other; it knows neither version nor time.
final class RequestGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// A request that was not answered yet.
    private struct Owed {
        var isHEAD = false
        /// HTTP/1.0.
        var isOld = false
        /// The connection ends with its answer.
        var isLast = false
        var refusal: RequestRefusal?
    }

    private enum Reading {
        case head(since: NIODeadline)
        case body(since: NIODeadline, bytes: Int)
    }

    /// What came of a body in one read is passed on together, up to so much: chunks may be a byte each.
    private static let largestPiece = 64 * 1024

    /// Told when the client may be gone, and when it is.
    let end = ConnectionEnd()
    private let limits: ConnectionLimits

    /// In the order in which they came, which is that of the answers.
    private var owed = CircularBuffer<Owed>(initialCapacity: 2)
    private var reading = Reading.head(since: .now())
    private var isFirst = true
    /// The last request was read: what follows is dropped.
    private var isDeaf = false
    private var held: ByteBuffer?

    private var isInputClosed = false
    /// Answers that have not gone out whole.
    private var unsent = 0
    /// The output is closed once all has gone out: with the input closed too, what waits would be dropped.
    private var isFinishing = false
    /// When the connection is closed even if the client has not closed it.
    private var closing: NIODeadline?
    private var look: (at: NIODeadline, scheduled: Scheduled<Void>)?

    init(limits: ConnectionLimits) { self.limits = limits }

    // MARK: - Requests

    func channelActive(context: ChannelHandlerContext) {
        reading = .head(since: .now())
        watch(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDeaf else { return }
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            if let refusal = RequestRefusal(of: head) { return refuse(refusal, context) }
            let isOld = head.version != .http1_1
            // The parser reads nothing more after a request that wants another protocol, which it does not get.
            let isLast = isOld || !head.isKeepAlive || head.headers.contains(name: "upgrade")
            owed.append(Owed(isHEAD: head.method == .HEAD, isOld: isOld, isLast: isLast))
            reading = .body(since: .now(), bytes: 0)
            isFirst = false
            context.fireChannelRead(data)
        case .body(let part): take(part, context)
        case .end:
            release(context)
            reading = .head(since: .now())
            if owed.last?.isLast ?? (closing != nil) { isDeaf = true }
            context.fireChannelRead(data)
        }
    }

    private func take(_ part: ByteBuffer, _ context: ChannelHandlerContext) {
        guard case .body(let since, var bytes) = reading else { return }
        bytes += part.readableBytes
        reading = .body(since: since, bytes: bytes)
        // Answered already: nobody wants the rest.
        guard !owed.isEmpty else { return bytes > limits.restBytes ? context.close(promise: nil) : () }
        if held == nil { held = part } else { held?.writeImmutableBuffer(part) }
        if let size = held?.readableBytes, size >= Self.largestPiece { release(context) }
    }

    private func release(_ context: ChannelHandlerContext) {
        guard let part = held else { return }
        held = nil
        context.fireChannelRead(Self.wrapInboundOut(.body(part)))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        release(context)
        watch(context)
        context.fireChannelReadComplete()
        // What still comes is read, else closing would reset the connection and lose the answer.
        if closing != nil { context.read() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else { return context.fireErrorCaught(error) }
        refuse(RequestRefusal(error), context)
    }

    /// Ends the reading. Hummingbird answers once what came before is answered.
    private func refuse(_ refusal: RequestRefusal, _ context: ChannelHandlerContext) {
        guard !isDeaf else { return }
        isDeaf = true
        held = nil
        if case .body = reading {
            // Its answer has gone out, and another one would seem to be that of the next request.
            guard !owed.isEmpty else { return context.close(promise: nil) }
            owed[owed.index(before: owed.endIndex)].refusal = refusal
        } else {
            owed.append(Owed(refusal: refusal))
        }
        reading = .head(since: .now())
        context.fireErrorCaught(HTTPParserError.unknown)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            isInputClosed = true
            isDeaf = true
            if owed.isEmpty { finish(context) } else { probe(context) }
        case is ChannelShouldQuiesceEvent: quiesce(context)
        case ChannelEvent.outputClosed:
            closing = .now() + limits.closing
            watch(context)
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// The server is going: what is owed is answered, and nothing more is read.
    private func quiesce(_ context: ChannelHandlerContext) {
        if unsent == 0, owed.isEmpty { return context.close(promise: nil) }
        isDeaf = true
        if owed.isEmpty { finish(context) } else { owed[owed.index(before: owed.endIndex)].isLast = true }
    }

    /// A client that has closed its socket and one that has only sent its last request look the same until something is
    /// sent to them.
    private func probe(_ context: ChannelHandlerContext) {
        context.eventLoop.scheduleTask(in: limits.probe) { [end] in end.suspect() }
    }

    // MARK: - Responses

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        // Nobody is owed the answer to a request that broke after it was answered.
        guard let current = owed.first else { promise?.succeed(); return }
        switch Self.unwrapOutboundIn(data) {
        case .head(let head): write(head, current, context, promise)
        case .body where current.isHEAD: promise?.succeed()
        case .body: context.write(data, promise: promise)
        case .end:
            owed.removeFirst()
            unsent += 1
            let sent = promise ?? context.eventLoop.makePromise()
            sent.futureResult.assumeIsolated().whenComplete { _ in
                self.unsent -= 1
                if self.isFinishing { self.finish(context) }
            }
            context.writeAndFlush(data, promise: sent)
            answered(current, context)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .output else { return context.close(mode: mode, promise: promise) }
        promise?.succeed()
        finish(context)
    }

    private func finish(_ context: ChannelHandlerContext) {
        isFinishing = true
        if unsent == 0 { context.close(mode: .output, promise: nil) }
    }

    private func write(
        _ head: HTTPResponseHead, _ current: Owed, _ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?
    ) {
        var head = head
        guard (200...).contains(head.status.code) else {
            // HTTP/1.0 has no such answers.
            if current.isOld { promise?.succeed() } else { context.write(Self.wrapOutboundOut(.head(head)), promise: promise) }
            return
        }
        var body: ByteBuffer?
        if let refusal = current.refusal, head.status == .badRequest, head.headers["content-length"] == ["0"] {
            let text = ByteBuffer(string: refusal.reason + "\n")
            head.status = refusal.status
            head.headers.replaceOrAdd(name: "Content-Type", value: "text/plain; charset=utf-8")
            head.headers.replaceOrAdd(name: "Content-Length", value: String(text.readableBytes))
            body = text
        }
        if current.isOld { head.version = .http1_0 }
        if current.isLast || current.refusal != nil { head.headers.replaceOrAdd(name: "Connection", value: "close") }
        context.write(Self.wrapOutboundOut(.head(head)), promise: promise)
        if let body, !current.isHEAD { context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
    }

    private func answered(_ request: Owed, _ context: ChannelHandlerContext) {
        switch reading {
        case .head: reading = .head(since: .now())
        // From here on it is the body of this request's successor, or the rest of its own.
        case .body(_, let bytes): reading = .body(since: .now(), bytes: owed.isEmpty ? 0 : bytes)
        }
        if request.isLast || request.refusal != nil || isInputClosed && owed.isEmpty { finish(context) }
        watch(context)
    }

    // MARK: - Time

    /// When the connection has to have got on; nil while the server is at work.
    private var deadline: NIODeadline? {
        if let closing { return closing }
        switch reading {
        case .head(let since) where owed.isEmpty: return since + (isFirst ? limits.firstHead : limits.nextHead)
        case .body(let since, _) where owed.isEmpty: return since + limits.rest
        case .body(let since, let bytes) where owed.count == 1:
            return since + limits.body + .milliseconds(Int64(bytes) * 1000 / Int64(limits.bodyRate))
        default: return nil
        }
    }

    /// One timer serves all requests of the connection: it is set anew only to look sooner, and rests while the server is at
    /// work.
    private func watch(_ context: ChannelHandlerContext) {
        guard let deadline else { return }
        if let look {
            guard deadline < look.at else { return }
            look.scheduled.cancel()
        }
        look = (deadline, context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.lookNow(context) })
    }

    private func lookNow(_ context: ChannelHandlerContext) {
        look = nil
        guard let deadline, deadline <= .now() else { return watch(context) }
        guard closing == nil, case .body = reading, !owed.isEmpty else { return context.close(promise: nil) }
        refuse(RequestRefusal(.requestTimeout, "The body took too long."), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        look?.scheduled.cancel()
        look = nil
        end.fire()
        context.fireChannelInactive()
    }
}
