import HTTPTypes
import HummingbirdCore

extension HummingbirdCore.Request {
    /// The whole body; nil if it is larger than the limit. A client that waits to be told to send it is told so
    /// (RFC 9110, section 10.1.1).
    func wholeBody(upTo limit: Int, _ writer: borrowing ResponseWriter) async throws -> [UInt8]? {
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > limit { return nil }
        if headers[.expect]?.lowercased() == "100-continue" {
            try await writer.writeInformationalHead(HTTPResponse(status: .continue))
        }
        var bytes: [UInt8] = []
        for try await part in body {
            guard bytes.count + part.readableBytes <= limit else { return nil }
            bytes.append(contentsOf: part.readableBytesView)
        }
        return bytes
    }
}
