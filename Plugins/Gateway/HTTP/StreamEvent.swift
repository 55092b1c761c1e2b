import KnapJSON
import NIOCore

/// What goes out on one HTTP response before it ends.
enum StreamEvent: Sendable {
    /// `id` is what the client names to go on after it; nil where it cannot.
    case message(JSON, id: String?)
    /// The end of a request: alone it is the whole response, after other events the last of them.
    case response(Response, id: String?)
    /// An event without data, from which a client can go on (2025-11-25, "Resumability and Redelivery").
    case prime(id: String)
    /// A comment, so that proxies and idle timers see a living stream.
    case keepAlive
    /// Something of the same stream that is written already.
    case bytes(ByteBuffer)

    /// As server-sent events (HTML, section 9.2.6).
    var bytes: ByteBuffer {
        switch self {
        case .keepAlive: ByteBuffer(string: ":\n\n")
        case .bytes(let bytes): bytes
        case .prime(let id): ByteBuffer(string: "id: \(id)\nretry: 1000\ndata:\n\n")
        case .message(let json, let id): Self.event(json, id)
        case .response(let response, let id): Self.event(response.json, id)
        }
    }

    private static func event(_ json: JSON, _ id: String?) -> ByteBuffer {
        var bytes = Array("event: message\n".utf8)
        if let id { bytes += Array("id: \(id)\n".utf8) }
        bytes += Array("data: ".utf8)
        json.write(into: &bytes)
        bytes += [10, 10]
        return ByteBuffer(bytes: bytes)
    }
}
