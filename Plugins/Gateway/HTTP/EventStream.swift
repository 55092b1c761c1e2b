import HTTPTypes
import HummingbirdCore
import KnapJSON
import NIOCore

/// What goes out on one HTTP response before it ends.
enum HTTPEvent: Sendable {
    case notification(Notification)
    case response(Response)
    /// A comment, so that proxies and idle timers see a living stream.
    case keepAlive
}

/// One response as server-sent events.
struct EventStream {
    static let keepAliveInterval = Duration.seconds(15)
    /// Notifications that wait for a slow client; the oldest go first. The response is the newest, so it never goes.
    static let capacity = 256

    static func make() -> (events: AsyncStream<HTTPEvent>, continuation: AsyncStream<HTTPEvent>.Continuation) {
        let (events, continuation) = AsyncStream<HTTPEvent>.makeStream(bufferingPolicy: .bufferingNewest(capacity))
        return (events, continuation)
    }

    /// Writes events until there are no more; `first` was taken already.
    static func write(
        first: HTTPEvent?, _ events: inout AsyncStream<HTTPEvent>.Iterator,
        to continuation: AsyncStream<HTTPEvent>.Continuation, _ writer: consuming ResponseWriter
    ) async throws {
        let beat = Task {
            while (try? await Task.sleep(for: keepAliveInterval)) != nil { continuation.yield(.keepAlive) }
        }
        defer { beat.cancel() }
        var body = try await writer.writeHead(head)
        if let first { try await body.write(bytes(of: first)) }
        while let event = await events.next() { try await body.write(bytes(of: event)) }
        try await body.finish(nil)
    }

    private static var head: HTTPResponse {
        var head = HTTPResponse(status: .ok)
        head.headerFields[.contentType] = "text/event-stream"
        head.headerFields[.cacheControl] = "no-store"
        head.headerFields[.accelBuffering] = "no"
        return head
    }

    private static func bytes(of event: HTTPEvent) -> ByteBuffer {
        let json: JSON
        switch event {
        case .keepAlive: return ByteBuffer(string: ":\n\n")
        case .notification(let notification): json = notification.json
        case .response(let response): json = response.json
        }
        var bytes = Array("event: message\ndata: ".utf8)
        json.write(into: &bytes)
        bytes += [10, 10]
        return ByteBuffer(bytes: bytes)
    }
}
