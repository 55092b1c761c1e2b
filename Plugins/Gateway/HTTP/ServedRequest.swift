import NIOCore
import NIOHTTP1

/// The request that a connection serves: how far its body and its answer are.
struct ServedRequest {
    let exchange: HTTPExchange
    let isHEAD: Bool
    /// HTTP/1.0.
    let isOld: Bool
    /// The connection ends with its answer.
    var isLast: Bool
    /// The client sends the body once it is told to (RFC 9110, section 10.1.1).
    private(set) var awaitsContinue: Bool

    /// When the body began to come, or what nobody wants of it any more.
    private(set) var since = NIODeadline.now()
    /// How much has come since.
    private(set) var bytes = 0
    private(set) var bodyHasEnded = false
    private var held = ByteBuffer()
    private var wanted: (limit: Int, reader: CheckedContinuation<HTTPExchange.Body, Never>)?
    /// Why there will be no body.
    private var failure: HTTPExchange.Body?

    /// The head of the answer is out.
    private(set) var hasBegun = false
    /// The answer is a stream of events.
    private(set) var isEvents = false
    /// All of the answer is written.
    private(set) var isAnswered = false
    /// It has gone out.
    var isSent = false

    init(_ head: HTTPRequestHead, _ exchange: HTTPExchange) {
        self.exchange = exchange
        isHEAD = head.method == .HEAD
        isOld = head.version != .http1_1
        // The parser reads nothing more after a request that wants another protocol, which it does not get.
        isLast = isOld || !head.isKeepAlive || head.headers.contains(name: "upgrade")
        awaitsContinue = !isOld && head.headers.first(name: "expect")?.lowercased() == "100-continue"
    }

    /// Whether more of the body is to be read: somebody waits for it, or has answered without.
    var wantsMore: Bool { !bodyHasEnded && (isAnswered || wanted != nil) }
}

// MARK: - The body

extension ServedRequest {
    mutating func take(_ part: ByteBuffer) {
        bytes += part.readableBytes
        awaitsContinue = false
        guard !isAnswered, failure == nil else { return }
        if let limit = wanted?.limit, bytes > limit { return fail(.tooLarge) }
        if held.readableBytes == 0 { held = part } else { held.writeImmutableBuffer(part) }
        if !exchange.reserve(held.readableBytes) { fail(.busy) }
    }

    mutating func endBody() {
        bodyHasEnded = true
        handWhole()
    }

    /// Hands the body over once it is there. True where the client is to be told that it is wanted.
    mutating func want(upTo limit: Int, _ reader: CheckedContinuation<HTTPExchange.Body, Never>) -> Bool {
        wanted = (limit, reader)
        if let failure { hand(failure) }
        if bytes > limit { fail(.tooLarge) }
        if bodyHasEnded { handWhole() }
        defer { awaitsContinue = false }
        return awaitsContinue && wanted != nil
    }

    /// There will be no body, and nobody is to wait for it.
    mutating func giveUpBody() {
        hand(.gone)
        bodyHasEnded = true
    }

    private mutating func fail(_ reason: HTTPExchange.Body) {
        failure = reason
        hand(reason)
    }

    private mutating func handWhole() {
        if wanted != nil { hand(.whole(Array(held.readableBytesView))) }
    }

    private mutating func hand(_ body: HTTPExchange.Body) {
        wanted?.reader.resume(returning: body)
        wanted = nil
        held = ByteBuffer()
    }
}

// MARK: - The answer

extension ServedRequest {
    /// Makes an answer's head what the request lets it be.
    mutating func begin(_ head: HTTPResponseHead) -> HTTPResponseHead {
        var head = head
        hasBegun = true
        isEvents = head.headers.first(name: "content-type") == ServerSentEvent.mediaType
        if isOld { head.version = .http1_0 }
        // Who was not told to send the body may send it or not, and another request cannot be told from it.
        if awaitsContinue, !bodyHasEnded { isLast = true }
        if isLast { head.headers.replaceOrAdd(name: "Connection", value: "close") }
        return head
    }

    mutating func end() {
        isAnswered = true
        since = .now()
        bytes = 0
        held = ByteBuffer()
    }
}
