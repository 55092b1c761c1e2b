import HTTPTypes
import HummingbirdCore
import KnapJSON
import NIOCore

/// Streamable HTTP for both eras, without sessions: each request stands alone, so a client whose session died with an
/// earlier process is served all the same.
struct MCPEndpoint: Sendable {
    let server: Server
    let backend: any Backend

    static let maximumBody = LineFramer.defaultLimit

    func respond(to request: HummingbirdCore.Request, _ writer: consuming ResponseWriter) async throws {
        switch request.method {
        case .post: try await post(request, writer)
        case .get where Self.isLegacy(request): try await stream(request, writer)
        case .get, .delete: try await Answer.notAllowed("POST").send(writer)
        default: try await Answer.notAllowed("GET, POST").send(writer)
        }
    }

    /// The version header routes: absent or a date of the handshake era is legacy, anything else modern.
    private static func isLegacy(_ request: HummingbirdCore.Request) -> Bool {
        guard let version = request.headers[.mcpVersion] else { return true }
        return Revision(rawValue: version.trimmingSpaces).map { !$0.isModern } ?? false
    }

    // MARK: - POST

    private func post(_ request: HummingbirdCore.Request, _ writer: consuming ResponseWriter) async throws {
        if let refusal = Self.refusal(of: request) { return try await refusal.send(writer) }
        if request.headers[.expect]?.lowercased() == "100-continue" {
            try await writer.writeInformationalHead(HTTPResponse(status: .continue))
        }
        var body: [UInt8] = []
        for try await part in request.body {
            guard body.count + part.readableBytes <= Self.maximumBody else {
                return try await Self.tooLarge.send(writer)
            }
            body.append(contentsOf: part.readableBytesView)
        }
        switch Self.read(body, request) {
        case .failure(let answer): try await answer.answer.send(writer)
        case .success((let message, let envelope)): try await serve(message, envelope, writer)
        }
    }

    private static let tooLarge = Answer.json(
        Rejection(error: RPCError(.invalidRequest, "The body is larger than \(maximumBody) bytes.")).json, status: 413)

    /// What is wrong with the request before its body is read.
    private static func refusal(of request: HummingbirdCore.Request) -> Answer? {
        let type = request.headers[.contentType]?.prefix { $0 != ";" }.lowercased() ?? ""
        guard type.trimmingSpaces == "application/json" else {
            return .text("The content type must be application/json.", status: 415)
        }
        let accepted = AcceptedTypes(request.headers[.accept])
        guard accepted.has("application/json"), accepted.has("text/event-stream") else {
            return .text("Accept must list application/json and text/event-stream.", status: 406)
        }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > maximumBody { return tooLarge }
        return nil
    }

    private struct Refused: Error { var answer: Answer }

    /// Reads the message and, in the era that headers and body show, its envelope.
    private static func read(
        _ body: [UInt8], _ request: HummingbirdCore.Request
    ) -> Result<(Request, Envelope), Refused> {
        do throws(Rejection) {
            guard case .request(let message) = try Message.parse(body) else {
                return .failure(Refused(answer: Answer(status: 202)))
            }
            let isModern =
                Envelope.isModern(message)
                || (!isLegacy(request) && message.method != RequestMethod.initialize.rawValue)
            guard isModern else {
                let revision = request.headers[.mcpVersion].flatMap { Revision(rawValue: $0.trimmingSpaces) }
                    .flatMap { $0.isModern ? nil : $0 }
                return .success((message, .legacy(message, revision: revision ?? .assumedWithoutHeader)))
            }
            do throws(RPCError) {
                return .success((message, try .modern(message, headers: RoutingHeaders(request.headers))))
            } catch {
                let answer = Answer.json(
                    Response(id: message.id, .failure(error)).json, status: error.status(isModern: true))
                return .failure(Refused(answer: answer))
            }
        } catch {
            return .failure(Refused(answer: .json(error.json, status: 400)))
        }
    }

    /// Answers with JSON, or from the first notification on with events.
    private func serve(_ message: Request, _ envelope: Envelope, _ writer: consuming ResponseWriter) async throws {
        let (events, continuation) = EventStream.make()
        let exchange = Exchange(envelope: envelope, backend: backend) { continuation.yield(.notification($0)) }
        let work = Task { [server] in
            let response = await server.answer(message, in: exchange)
            continuation.yield(.response(response))
            continuation.finish()
        }
        // Closing the response is the cancel of the modern era; in the legacy one a disconnect is none.
        if envelope.isModern { ConnectionEnd.current?.handle { work.cancel() } }
        defer { ConnectionEnd.current?.handle(nil) }
        var iterator = events.makeAsyncIterator()
        guard let first = await iterator.next() else { return work.cancel() }
        guard case .response(let response) = first else {
            defer { work.cancel() }
            return try await EventStream.write(first: first, &iterator, to: continuation, writer)
        }
        var status = 200
        if case .failure(let error) = response.outcome { status = error.status(isModern: envelope.isModern) }
        let fields = Self.opensSession(message, envelope, response) ? [(HTTPField.Name.mcpSessionID, Self.sessionID())] : []
        try await Answer.json(response.json, status: status, fields: fields).send(writer)
    }

    /// Clients of the handshake era open the stream on which they hear of changed lists only if they were given a session.
    private static func opensSession(_ message: Request, _ envelope: Envelope, _ response: Response) -> Bool {
        guard !envelope.isModern, message.method == RequestMethod.initialize.rawValue, case .success = response.outcome else { return false }
        return true
    }

    /// Asked for by nobody: whatever a client sends is served, so that a session outlives this process.
    private static func sessionID() -> String {
        (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }.joined()
    }

    // MARK: - GET

    /// The stream on which legacy clients hear of changed lists.
    private func stream(_ request: HummingbirdCore.Request, _ writer: consuming ResponseWriter) async throws {
        guard AcceptedTypes(request.headers[.accept]).has("text/event-stream") else {
            return try await Answer.text("Accept must list text/event-stream.", status: 406).send(writer)
        }
        let (events, continuation) = EventStream.make()
        let work = Task { [server] in
            await server.pushListChanges { continuation.yield(.notification($0)) }
            continuation.finish()
        }
        defer { work.cancel() }
        ConnectionEnd.current?.handle { work.cancel() }
        defer { ConnectionEnd.current?.handle(nil) }
        var iterator = events.makeAsyncIterator()
        try await EventStream.write(first: .keepAlive, &iterator, to: continuation, writer)
    }
}

extension RoutingHeaders {
    init(_ fields: HTTPFields) {
        self.init(
            version: fields[values: .mcpVersion], method: fields[values: .mcpMethod], name: fields[values: .mcpName])
    }
}

/// The media types of an `Accept` header; without one everything is accepted (RFC 9110, section 12.5.1).
struct AcceptedTypes {
    private let ranges: [String]

    init(_ header: String?) {
        ranges = (header ?? "*/*").split(separator: ",").compactMap { range in
            let parts = range.split(separator: ";").map { String($0).trimmingSpaces.lowercased() }
            return parts.dropFirst().contains { $0 == "q=0" || $0 == "q=0.0" } ? nil : parts.first
        }
    }

    func has(_ type: String) -> Bool {
        let family = type.prefix { $0 != "/" }
        return ranges.contains { $0 == type || $0 == "*/*" || $0 == "\(family)/*" }
    }
}
