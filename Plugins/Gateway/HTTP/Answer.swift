import HTTPTypes
import KnapJSON
import NIOHTTP1

/// A whole HTTP response.
struct Answer {
    var status: Int
    var type: String?
    var body: [UInt8] = []
    var fields: [(HTTPField.Name, String)] = []

    static func json(_ json: JSON, status: Int = 200, fields: [(HTTPField.Name, String)] = []) -> Answer {
        var body: [UInt8] = []
        json.write(into: &body)
        return Answer(status: status, type: "application/json", body: body, fields: fields)
    }

    static func text(_ text: String, status: Int, fields: [(HTTPField.Name, String)] = []) -> Answer {
        Answer(status: status, type: "text/plain; charset=utf-8", body: Array((text + "\n").utf8), fields: fields)
    }

    /// There is no memory for the request now.
    static let busy = text(
        "The server is at work on other large requests; try again.", status: 503, fields: [(.retryAfter, "1")])

    static func notAllowed(_ methods: String) -> Answer {
        .text("This address takes \(methods).", status: 405, fields: [(.allow, methods)])
    }

    var head: HTTPResponseHead {
        var headers = HTTPHeaders()
        if let type { headers.add(name: "Content-Type", value: type) }
        for (name, value) in fields { headers.add(name: name.rawName, value: value) }
        // These two have no body, and saying that it is empty would be wrong (RFC 9110, section 8.6).
        if status != 204, status != 304 { headers.add(name: "Content-Length", value: String(body.count)) }
        return HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers)
    }
}
