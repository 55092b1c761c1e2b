import HTTPTypes
import NIOCore
import NIOHTTP1

/// One connection over HTTP/1.1, whose requests are answered one after the other.
///
/// What is not plainly HTTP is refused, what takes too long ends the connection, and a response is made what the
/// request's version and method let it be. A connection that waits costs little: it has no task, a request has one only
/// until its answer has begun, and nothing is read that nobody asks for.
///
/// All of it belongs to the connection's event loop; others reach it through an ``HTTPExchange``.
final class HTTPConnection: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPServerResponsePart

    /// Answers a request, or hands it to somebody who will.
    typealias Responder = @Sendable (HTTPExchange) async -> Void

    private let limits: ConnectionLimits
    private let connections: Connections
    private let bodies: BodyBudget
    private let respond: Responder
    // Set from the handler's addition until its removal, which are the first and the last that it hears.
    private var context: ChannelHandlerContext!

    private var current: ServedRequest?
    /// What was read after the request that is served.
    private var pending = CircularBuffer<HTTPServerRequestPart>()
    private var pendingBytes = 0
    /// What ends the reading, once all before it is answered.
    private var refusal: RequestRefusal?
    /// Nothing more is taken in: what comes is dropped.
    private var isDeaf = false
    private var isInputClosed = false
    private var isQuiescing = false
    /// The channel asked to read when nothing was wanted.
    private var readIsHeld = false

    private var isFirst = true
    private var headSince = NIODeadline.now()
    /// When the connection is closed even if the client has not closed it; set once the output is closed.
    private var closing: NIODeadline?
    private var look: (at: NIODeadline, scheduled: Scheduled<Void>)?

    init(limits: ConnectionLimits, connections: Connections, bodies: BodyBudget, respond: @escaping Responder) {
        self.limits = limits
        self.connections = connections
        self.bodies = bodies
        self.respond = respond
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    /// Each of the two holds the other.
    func handlerRemoved(context: ChannelHandlerContext) {
        look?.scheduled.cancel()
        look = nil
        current = nil
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        headSince = .now()
        watch()
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        look?.scheduled.cancel()
        look = nil
        isDeaf = true
        pending.removeAll()
        if var gone = current {
            current = nil
            gone.giveUpBody()
            if !gone.isAnswered { connections.requestEnds() }
            gone.exchange.clientLeft()
        }
        context.fireChannelInactive()
    }
}

// MARK: - Requests

extension HTTPConnection {
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDeaf else { return }
        let part = Self.unwrapInboundIn(data)
        guard let current, current.bodyHasEnded else { return take(part) }
        // A client may send its next requests before the answer; that is read once, with what came before.
        pendingBytes += part.approximateSize
        guard pendingBytes <= limits.pendingBytes else {
            return refuse(RequestRefusal(.payloadTooLarge, "Too much was sent before the answer to what came first."))
        }
        pending.append(part)
    }

    private func take(_ part: HTTPServerRequestPart) {
        switch part {
        case .head(let head): begin(head)
        case .body(let bytes): take(bytes)
        case .end:
            current?.endBody()
            goOn()
        }
    }

    private func begin(_ head: HTTPRequestHead) {
        if let refusal = RequestRefusal(of: head) { return refuse(refusal) }
        guard let request = HTTPRequest(head) else { return refuse(RequestRefusal(.invalidMethod)) }
        let exchange = HTTPExchange(
            request, connection: NIOLoopBound(self, eventLoop: context.eventLoop), on: context.eventLoop, bodies: bodies)
        current = ServedRequest(head, exchange)
        isFirst = false
        connections.requestBegins(on: context.channel)
        exchange.serve(respond)
    }

    private func take(_ bytes: ByteBuffer) {
        current?.take(bytes)
        if let current, current.isAnswered, current.bytes > limits.restBytes { close() }
    }

    /// Hands a request's body over once it is there.
    func wantBody(upTo limit: Int, of exchange: HTTPExchange, _ reader: CheckedContinuation<HTTPExchange.Body, Never>) {
        guard current?.exchange === exchange, current?.isAnswered == false else {
            return reader.resume(returning: .gone)
        }
        if current?.want(upTo: limit, reader) == true { writeInterim(.continue) }
        readOn()
    }

    func read(context: ChannelHandlerContext) {
        guard wantsMore else { return readIsHeld = true }
        context.read()
    }

    private var wantsMore: Bool {
        // What still comes is read, else closing would reset the connection and the last answer would be lost.
        if isDeaf || closing != nil { return closing != nil }
        return current?.wantsMore ?? pending.isEmpty
    }

    private func readOn() {
        guard readIsHeld, wantsMore else { return }
        readIsHeld = false
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        watch()
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The parser complains again of whatever follows.
        guard !isDeaf else { return }
        guard let error = error as? HTTPParserError else { return close() }
        refuse(RequestRefusal(error))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            isInputClosed = true
            isDeaf = true
            if current == nil { advance() } else { probe() }
        case is ChannelShouldQuiesceEvent:
            // The server is going: what has come is answered, and nothing more is read.
            isQuiescing = true
            isDeaf = true
            if current == nil { isFirst ? close() : advance() }
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// A client that has closed its socket and one that has only sent its last request look the same until something is
    /// sent to them.
    private func probe() {
        context.eventLoop.assumeIsolated().scheduleTask(in: limits.probe) { [weak self] in
            guard let self, let served = current, !served.isAnswered else { return }
            if !served.hasBegun { return writeInterim(.processing) }
            if served.isEvents { served.exchange.offer(ServerSentEvent.keepAlive) }
        }
    }
}

// MARK: - Responses

extension HTTPConnection {
    private func writeInterim(_ status: HTTPResponseStatus) {
        // HTTP/1.0 has no such answers.
        guard current?.isOld == false else { return }
        write(.head(HTTPResponseHead(version: .http1_1, status: status)))
        context.flush()
    }

    func send(_ answer: Answer, for exchange: HTTPExchange) {
        guard let served = current, served.exchange === exchange, !served.hasBegun else { return }
        writeHead(answer.head)
        if !served.isHEAD, !answer.body.isEmpty { write(.body(.byteBuffer(ByteBuffer(bytes: answer.body)))) }
        finish(exchange)
    }

    func begin(_ head: HTTPResponseHead, for exchange: HTTPExchange) {
        guard let served = current, served.exchange === exchange, !served.hasBegun else { return }
        writeHead(head)
        context.flush()
    }

    private func writeHead(_ head: HTTPResponseHead) {
        if let head = current?.begin(head) { writeFinal(head) }
    }

    /// Tells the exchange when it has gone out.
    func write(_ bytes: ByteBuffer, for exchange: HTTPExchange) {
        guard let served = current, served.exchange === exchange, served.hasBegun, !served.isAnswered, !served.isHEAD
        else { return exchange.wrote(bytes.readableBytes) }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenComplete { _ in exchange.wrote(bytes.readableBytes) }
        context.writeAndFlush(Self.wrapOutboundOut(.body(.byteBuffer(bytes))), promise: promise)
    }

    /// Ends the answer that has begun.
    func finish(_ exchange: HTTPExchange) {
        guard let served = current, served.exchange === exchange, served.hasBegun, !served.isAnswered else { return }
        current?.end()
        connections.requestEnds()
        exchange.finished()
        let sent = context.eventLoop.makePromise(of: Void.self)
        sent.futureResult.assumeIsolated().whenComplete { [self] _ in self.sent(exchange) }
        // The end of a response without a body would be a chunk.
        let end = served.isHEAD ? OutboundOut.body(.byteBuffer(ByteBuffer())) : .end(nil)
        context.writeAndFlush(Self.wrapOutboundOut(end), promise: sent)
    }

    /// A final answer says when it was made (RFC 9110, section 6.6.1).
    private func writeFinal(_ head: HTTPResponseHead) {
        var head = head
        head.headers.add(name: "Date", value: HTTPDate.now)
        write(.head(head))
    }

    private func write(_ part: HTTPServerResponsePart) { context.write(Self.wrapOutboundOut(part), promise: nil) }

    /// Breaks an answer off, so that its client sees that it is not whole.
    func breakOff(_ exchange: HTTPExchange) {
        guard let served = current, served.exchange === exchange, !served.isAnswered else { return }
        close()
    }
}

// MARK: - From one request to the next

extension HTTPConnection {
    /// The answer is out.
    private func sent(_ exchange: HTTPExchange) {
        guard current?.exchange === exchange else { return }
        current?.isSent = true
        goOn()
    }

    /// Goes on to the next request when this one is over.
    private func goOn() {
        guard let served = current, served.isSent else { return }
        guard served.bodyHasEnded || served.isLast else {
            readOn()
            return watch()
        }
        current = nil
        if served.isLast { return finishOutput(patience: served.bodyHasEnded ? limits.closing : limits.rest) }
        headSince = .now()
        advance()
    }

    private func advance() {
        while let part = pending.first, current == nil || current?.bodyHasEnded == false {
            pending.removeFirst()
            pendingBytes -= part.approximateSize
            take(part)
        }
        if pending.isEmpty, let refusal, current?.bodyHasEnded != true {
            return refuse(refusal)
        }
        if current == nil, isInputClosed || isQuiescing { return finishOutput() }
        readOn()
        watch()
    }

    /// Ends the reading. What came before is answered first.
    private func refuse(_ refusal: RequestRefusal) {
        isDeaf = true
        if current?.bodyHasEnded == true { return self.refusal = refusal }
        // Whatever else was wrong with what follows.
        self.refusal = nil
        pending.removeAll()
        guard var served = current else { return answer(refusal) }
        // Its answer has begun, and another one would seem to be that of the next request.
        guard !served.hasBegun else { return close() }
        served.giveUpBody()
        served.isLast = true
        current = served
        served.exchange.clientLeft()
        send(refusal.answer, for: served.exchange)
    }

    /// Answers what never became a request.
    private func answer(_ refusal: RequestRefusal) {
        var head = refusal.answer.head
        head.headers.replaceOrAdd(name: "Connection", value: "close")
        writeFinal(head)
        write(.body(.byteBuffer(ByteBuffer(bytes: refusal.answer.body))))
        let sent = context.eventLoop.makePromise(of: Void.self)
        sent.futureResult.assumeIsolated().whenComplete { [self] _ in finishOutput() }
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: sent)
    }

    /// Nothing more is sent; the client's end is waited for, so that it reads the last answer.
    private func finishOutput(patience: TimeAmount? = nil) {
        guard closing == nil else { return }
        isDeaf = true
        closing = .now() + (patience ?? limits.closing)
        context.close(mode: .output, promise: nil)
        readOn()
        watch()
    }

    /// With TLS this takes a while, in which nothing is served any more.
    private func close() {
        isDeaf = true
        if closing == nil { closing = .now() + limits.closing }
        context.close(promise: nil)
    }
}

// MARK: - Time

extension HTTPConnection {
    /// When the connection has to have got on; nil while the server is at work.
    private var deadline: NIODeadline? {
        if let closing { return closing }
        guard let current else { return headSince + (isFirst ? limits.firstHead : limits.nextHead) }
        if current.bodyHasEnded { return nil }
        if current.isAnswered { return current.since + limits.rest }
        return current.since + limits.body + .milliseconds(Int64(current.bytes) * 1000 / Int64(limits.bodyRate))
    }

    /// One timer serves all requests of the connection: it is set anew only to look sooner, and rests while the server is
    /// at work.
    private func watch() {
        guard let deadline else { return }
        if let look {
            guard deadline < look.at else { return }
            look.scheduled.cancel()
        }
        look = (deadline, context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.lookNow() })
    }

    private func lookNow() {
        look = nil
        guard let deadline, deadline <= .now() else { return watch() }
        guard closing == nil, current?.bodyHasEnded == false, current?.isAnswered == false else { return close() }
        refuse(RequestRefusal(.requestTimeout, "The body took too long."))
    }
}

extension HTTPServerRequestPart {
    /// About how much memory it takes.
    fileprivate var approximateSize: Int {
        switch self {
        case .head(let head):
            head.headers.reduce(1024 + head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 64 }
        case .body(let bytes): bytes.readableBytes + 64
        case .end: 64
        }
    }
}
