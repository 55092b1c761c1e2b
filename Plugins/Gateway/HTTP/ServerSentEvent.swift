import KnapJSON
import NIOCore
import NIOHTTP1

/// The pieces of a stream of events (HTML, section 9.2.6).
enum ServerSentEvent {
    static let mediaType = "text/event-stream"

    /// A comment, so that proxies and idle timers see a living stream.
    static let keepAlive = ByteBuffer(string: ":\n\n")

    static let streamHead = HTTPResponseHead(
        version: .http1_1, status: .ok,
        headers: ["Content-Type": mediaType, "Cache-Control": "no-store", "X-Accel-Buffering": "no"])

    /// - Parameter id: What the client names to go on after it; nil where it cannot.
    static func message(_ json: JSON, id: String? = nil) -> ByteBuffer {
        var bytes = Array("event: message\n".utf8)
        if let id { bytes += Array("id: \(id)\n".utf8) }
        bytes += Array("data: ".utf8)
        json.write(into: &bytes)
        bytes += [10, 10]
        return ByteBuffer(bytes: bytes)
    }

    /// An event without data, from which a client can go on (2025-11-25, "Resumability and Redelivery").
    static func prime(id: String) -> ByteBuffer { ByteBuffer(string: "id: \(id)\nretry: 1000\ndata:\n\n") }
}
