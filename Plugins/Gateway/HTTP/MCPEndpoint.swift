import HTTPTypes
import HummingbirdCore
import KnapJSON
import NIOCore

/// Streamable HTTP for both eras.
///
/// Sessions are optional: each request can stand alone. In the handshake era a session makes more possible, such as
/// questions to the client and streams that can be gone back to.
struct MCPEndpoint: Sendable {
    let server: Server
    let sessions: SessionStore
    let heartbeat = Heartbeat()

    static let maximumBody = LineFramer.defaultLimit

    func respond(
        to request: HummingbirdCore.Request, from backend: any Backend, _ writer: consuming ResponseWriter
    ) async throws {
        switch request.method {
        case .post: try await post(request, backend, writer)
        case .get where Self.isLegacy(request): try await get(request, backend, writer)
        case .delete where Self.isLegacy(request): try await delete(request, backend).send(writer)
        case .get, .delete: try await Answer.notAllowed("POST").send(writer)
        default: try await Answer.notAllowed("GET, POST, DELETE").send(writer)
        }
    }

    /// The version header routes: absent or a date of the handshake era is legacy, anything else modern.
    private static func isLegacy(_ request: HummingbirdCore.Request) -> Bool {
        guard let version = request.headers[.mcpVersion] else { return true }
        return Revision(rawValue: version.trimmingSpaces).map { !$0.isModern } ?? false
    }

    /// The session that a request names: none, one, or one that there is not.
    private func session(
        of request: HummingbirdCore.Request, _ backend: any Backend
    ) -> Result<HTTPSession?, RPCError> {
        guard let id = request.headers[.mcpSessionID] else { return .success(nil) }
        guard let session = sessions.find(id, of: backend.principal) else {
            return .failure(RPCError(.sessionNotFound, "There is no such session; initialize again."))
        }
        return .success(session)
    }
}

// MARK: - POST

extension MCPEndpoint {
    private func post(
        _ request: HummingbirdCore.Request, _ backend: any Backend, _ writer: consuming ResponseWriter
    ) async throws {
        if let refusal = Self.refusal(of: request) { return try await refusal.send(writer) }
        guard let body = try await request.wholeBody(upTo: Self.maximumBody, writer) else {
            return try await Self.tooLarge.send(writer)
        }
        switch read(body, request, backend) {
        case .answer(let answer): try await answer.send(writer)
        case .modern(let message, let envelope): try await serve(message, envelope, backend, writer)
        case .legacy(let message, let envelope, let session):
            if message.method == RequestMethod.initialize.rawValue {
                try await initialize(message, envelope, backend).send(writer)
            } else if let session {
                try await serve(message, envelope, session, backend, writer)
            } else {
                try await serve(message, envelope, backend, writer)
            }
        }
    }

    private static let tooLarge = Answer.json(
        Rejection(error: RPCError(.invalidRequest, "The body is larger than \(maximumBody) bytes.")).json, status: 413)

    /// What is wrong with the request before its body is read.
    private static func refusal(of request: HummingbirdCore.Request) -> Answer? {
        guard request.headers[.contentType].flatMap(MediaType.init) == .json else {
            return .text("The content type must be application/json.", status: 415)
        }
        let accepted = AcceptedTypes(request.headers[.accept])
        guard accepted.has("application/json"), accepted.has("text/event-stream") else {
            return .text("Accept must list application/json and text/event-stream.", status: 406)
        }
        return nil
    }

    /// What a body turns out to be.
    private enum Reading {
        case modern(Request, Envelope)
        case legacy(Request, Envelope, HTTPSession?)
        /// Nothing that is served further.
        case answer(Answer)
    }

    /// Reads the message, in the era that headers and body show.
    private func read(_ body: [UInt8], _ request: HummingbirdCore.Request, _ backend: any Backend) -> Reading {
        let message: Message
        do throws(Rejection) {
            message = try Message.parse(body)
        } catch {
            return .answer(.json(error.json, status: 400))
        }
        let isModern = message.isModern(versionHeaderIsLegacy: Self.isLegacy(request))
        if isModern {
            // Its notifications mean nothing over HTTP, where closing the response is the cancel.
            guard case .request(let message) = message else { return .answer(Answer(status: 202)) }
            do throws(RPCError) {
                let headers = RoutingHeaders(request.headers)
                let envelope = try Envelope.modern(message, headers: headers)
                if message.method == RequestMethod.callTool.rawValue { try server.check(headers, of: message) }
                return .modern(message, envelope)
            } catch {
                return .answer(Self.answer(Response(id: message.id, .failure(error)), isModern: true))
            }
        }
        return readLegacy(message, request, backend)
    }

    private func readLegacy(
        _ message: Message, _ request: HummingbirdCore.Request, _ backend: any Backend
    ) -> Reading {
        // Whoever begins a session may still send the id of one that is over.
        let isBeginning = if case .request(let message) = message { message.method == "initialize" } else { false }
        let session: HTTPSession?
        switch isBeginning ? .success(nil) : self.session(of: request, backend) {
        case .success(let found): session = found
        case .failure(let error): return .answer(.json(Response(id: message.id, .failure(error)).json, status: 404))
        }
        switch message {
        case .request(let message):
            let named = request.headers[.mcpVersion].flatMap { Revision(rawValue: $0.trimmingSpaces) }
            let header = named.flatMap { $0.isModern ? nil : $0 }
            return .legacy(message, .legacy(message, header: header, session: session?.session), session)
        case .notification(let notification):
            if notification.method == "notifications/cancelled", let id = RequestID(notification.params["requestId"]) {
                session?.cancel(id)
            }
        case .response(let response): session?.session.questions.take(response)
        }
        return .answer(Answer(status: 202))
    }

    // MARK: - Answers

    private func initialize(_ message: Request, _ envelope: Envelope, _ backend: any Backend) async -> Answer {
        let session = Session()
        let exchange = Exchange(envelope: envelope, backend: backend, session: session) { _ in }
        let response = await server.answer(message, in: exchange)
        guard case .success = response.outcome else { return .json(response.json) }
        return .json(response.json, fields: [(.mcpSessionID, sessions.add(session, of: backend.principal))])
    }

    /// A request that stands alone: its stream lives as long as its connection.
    private func serve(
        _ message: Request, _ envelope: Envelope, _ backend: any Backend, _ writer: consuming ResponseWriter
    ) async throws {
        let queue = EventQueue()
        let exchange = Exchange(envelope: envelope, backend: backend, session: nil) {
            await queue.send(.message($0.json, id: nil))
        }
        let work = Task { [server] in
            let response = await server.answer(message, in: exchange)
            await queue.send(.response(response, id: nil))
            queue.finish()
        }
        // Closing the response is the cancel of the modern era; in the legacy one a disconnect is none.
        let isModern = envelope.isModern
        try await respond(queue, .request(prime: nil, isModern: isModern), writer) {
            queue.abandon()
            if isModern { work.cancel() }
        }
    }

    /// A request of a session: its stream can be gone back to.
    private func serve(
        _ message: Request, _ envelope: Envelope, _ session: HTTPSession, _ backend: any Backend,
        _ writer: consuming ResponseWriter
    ) async throws {
        let queue = EventQueue()
        let stream = session.openStream()
        let exchange = Exchange(envelope: envelope, backend: backend, session: session.session) {
            // Nothing more is said about a request that its client has cancelled, but that its questions are void.
            guard !Task.isCancelled || $0.isWithdrawal else { return }
            await stream.send($0.json)
        }
        _ = stream.attach(queue)
        let refusal = session.begin(message.id) {
            Task { [server] in
                let response = await server.answer(message, in: exchange)
                if !Task.isCancelled { await stream.send(response) }
                session.ended(message.id, stream)
            }
        }
        if let refusal {
            let answer = Response(id: message.id, .failure(refusal)).json
            return try await Answer.json(answer, status: refusal.status(isModern: false)).send(writer)
        }
        let prime = envelope.revision >= .november2025 ? stream.prime() : nil
        try await respond(queue, .request(prime: prime, isModern: false), writer) { stream.detach(queue) }
    }

    /// How a response begins.
    private enum Opening {
        /// As a stream, with these events.
        case stream([StreamEvent])
        /// As JSON where nothing comes before the response, else as a stream, which `prime` opens.
        case request(prime: StreamEvent?, isModern: Bool)
    }

    /// Writes what comes through a queue.
    ///
    /// - Parameter left: Called when the response is over or its client has gone.
    private func respond(
        _ queue: EventQueue, _ opening: Opening, _ writer: consuming ResponseWriter,
        left: @escaping @Sendable () -> Void
    ) async throws {
        ConnectionEnd.current?.handle(left)
        heartbeat.add(queue)
        defer {
            heartbeat.remove(queue)
            ConnectionEnd.current?.handle(nil)
            left()
        }
        switch opening {
        case .stream(let events): try await Self.write(events, queue, writer)
        case .request(let prime, let isModern):
            switch await queue.next() {
            case .response(let response, _)?: try await Self.answer(response, isModern: isModern).send(writer)
            case let first?: try await Self.write([prime, first].compactMap(\.self), queue, writer)
            // A cancelled request of the handshake era has no response, and HTTP wants one.
            case nil: try await Answer(status: 202).send(writer)
            }
        }
    }

    private static func answer(_ response: Response, isModern: Bool) -> Answer {
        guard case .failure(let error) = response.outcome else { return .json(response.json) }
        let fields = error.challenge.map { [(HTTPField.Name.wwwAuthenticate, $0.header)] } ?? []
        return .json(response.json, status: error.status(isModern: isModern), fields: fields)
    }

    private static func write(
        _ first: [StreamEvent], _ queue: EventQueue, _ writer: consuming ResponseWriter
    ) async throws {
        var body = try await writer.writeHead(streamHead)
        for event in first { try await body.write(event.bytes) }
        while let event = await queue.next() { try await body.write(event.bytes) }
        try await body.finish(nil)
    }

    private static let streamHead: HTTPResponse = {
        var head = HTTPResponse(status: .ok)
        head.headerFields[.contentType] = "text/event-stream"
        head.headerFields[.cacheControl] = "no-store"
        head.headerFields[.accelBuffering] = "no"
        return head
    }()
}

// MARK: - GET and DELETE

extension MCPEndpoint {
    /// A stream of the handshake era: for what belongs to no request, or, with `Last-Event-ID`, one that was lost.
    private func get(
        _ request: HummingbirdCore.Request, _ backend: any Backend, _ writer: consuming ResponseWriter
    ) async throws {
        guard AcceptedTypes(request.headers[.accept]).has("text/event-stream") else {
            return try await Answer.text("Accept must list text/event-stream.", status: 406).send(writer)
        }
        let queue = EventQueue()
        switch session(of: request, backend) {
        case .failure(let error): try await Answer.json(Rejection(error: error).json, status: 404).send(writer)
        case .success(nil):
            let changes = server.watch(for: nil)
            try await push(
                changes, queue, [.keepAlive], writer, send: { await queue.send(.message($0.json, id: nil)) },
                left: { queue.abandon() })
        case .success(let session?):
            let lastID = request.headers[.lastEventID]
            let resumed = lastID.flatMap(session.stream)
            guard lastID == nil || resumed != nil else {
                // Not 404, which would end the session.
                let error = RPCError(.invalidRequest, "There is no such event any more; send the request again.")
                return try await Answer.json(Rejection(error: error).json, status: 400).send(writer)
            }
            let stream = resumed?.stream ?? session.general
            let missed = stream.attach(queue, after: resumed?.place)
            let left: @Sendable () -> Void = { stream.detach(queue) }
            if stream === session.general {
                let knowsPrimes = (session.session.facts.revision ?? .assumedWithoutHeader) >= .november2025
                let opening = knowsPrimes && lastID == nil ? stream.prime() : .keepAlive
                try await push(
                    session.changes, queue, [opening] + missed, writer, send: { await stream.send($0.json) },
                    left: left)
            } else {
                try await respond(queue, .stream(missed), writer, left: left)
            }
        }
    }

    /// Writes what a watch tells until the client goes.
    private func push(
        _ changes: CatalogWatch, _ queue: EventQueue, _ first: [StreamEvent], _ writer: consuming ResponseWriter,
        send: @escaping @Sendable (Notification) async -> Void, left: @escaping @Sendable () -> Void
    ) async throws {
        let work = Task { [server] in
            await server.push(changes, send)
            queue.finish()
        }
        try await respond(queue, .stream(first), writer) {
            work.cancel()
            left()
        }
    }

    private func delete(_ request: HummingbirdCore.Request, _ backend: any Backend) -> Answer {
        guard let id = request.headers[.mcpSessionID] else {
            return .text("Mcp-Session-Id names the session to end.", status: 400)
        }
        return sessions.end(id, of: backend.principal)
            ? Answer(status: 204) : .text("There is no such session.", status: 404)
    }
}

extension Message {
    /// Whether the message is of the stateless era: what it says itself counts more than the header.
    fileprivate func isModern(versionHeaderIsLegacy: Bool) -> Bool {
        guard case .request(let request) = self else { return !versionHeaderIsLegacy }
        if Envelope.isModern(request) { return true }
        return !versionHeaderIsLegacy && request.method != RequestMethod.initialize.rawValue
    }

    fileprivate var id: RequestID? { if case .request(let request) = self { request.id } else { nil } }
}

extension RoutingHeaders {
    init(_ fields: HTTPFields) {
        self.init(
            version: fields[values: .mcpVersion], method: fields[values: .mcpMethod], name: fields[values: .mcpName],
            parameter: { HTTPField.Name("Mcp-Param-" + $0).map { fields[values: $0] } ?? [] })
    }
}
