import HTTPTypes
import HummingbirdCore
import KnapJSON
import NIOCore

/// A whole HTTP response.
struct Answer {
    var status: Int
    var type: String?
    var body: [UInt8] = []
    var fields: [(HTTPField.Name, String)] = []
    /// Whether the body stays here: the answer to HEAD.
    var isHeadOnly = false

    static func json(_ json: JSON, status: Int = 200, fields: [(HTTPField.Name, String)] = []) -> Answer {
        var body: [UInt8] = []
        json.write(into: &body)
        return Answer(status: status, type: "application/json", body: body, fields: fields)
    }

    static func text(_ text: String, status: Int, fields: [(HTTPField.Name, String)] = []) -> Answer {
        Answer(status: status, type: "text/plain; charset=utf-8", body: Array((text + "\n").utf8), fields: fields)
    }

    static func notAllowed(_ methods: String) -> Answer {
        .text("This address takes \(methods).", status: 405, fields: [(.allow, methods)])
    }

    var head: HTTPResponse {
        var head = HTTPResponse(status: .init(code: status))
        if let type { head.headerFields[.contentType] = type }
        for (name, value) in fields { head.headerFields[name] = value }
        // These two have no body, and saying that it is empty would be wrong (RFC 9110, section 8.6).
        if status != 204, status != 304 { head.headerFields[.contentLength] = String(body.count) }
        return head
    }

    func send(_ writer: consuming ResponseWriter) async throws {
        try await writer.write(
            response: head, body: body.isEmpty || isHeadOnly ? .init() : .init(byteBuffer: ByteBuffer(bytes: body)))
    }
}
