import HTTPTypes
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
    let lasting = LastingWork()

    static let maximumBody = LineFramer.defaultLimit

    func respond(to exchange: HTTPExchange, from backend: any Backend) async {
        let request = exchange.request
        switch request.method {
        case .post: await post(exchange, backend)
        case .get where Self.isLegacy(request): get(exchange, backend)
        case .delete where Self.isLegacy(request): exchange.send(delete(request, backend))
        case .get, .delete: exchange.send(.notAllowed("POST"))
        default: exchange.send(.notAllowed("GET, POST, DELETE"))
        }
    }

    /// The server goes: what runs for clients that have gone, or that may come back, is given up.
    func giveUp() {
        lasting.giveUp()
        sessions.giveUp()
    }

    /// The version header routes: absent or a date of the handshake era is legacy, anything else modern.
    private static func isLegacy(_ request: HTTPRequest) -> Bool {
        guard let version = request.headerFields[.mcpVersion] else { return true }
        return Revision(rawValue: version.trimmingSpaces).map { !$0.isModern } ?? false
    }

    /// The session that a request names: none, one, or one that there is not.
    private func session(of request: HTTPRequest, _ backend: any Backend) -> Result<HTTPSession?, RPCError> {
        guard let id = request.headerFields[.mcpSessionID] else { return .success(nil) }
        guard let session = sessions.find(id, of: backend.principal) else {
            return .failure(RPCError(.sessionNotFound, "There is no such session; initialize again."))
        }
        return .success(session)
    }
}

// MARK: - POST

extension MCPEndpoint {
    private func post(_ exchange: HTTPExchange, _ backend: any Backend) async {
        if let refusal = Self.refusal(of: exchange.request) { return exchange.send(refusal) }
        let body: [UInt8]
        switch await exchange.body(upTo: Self.maximumBody) {
        case .whole(let bytes) where exchange.reserve(JSON.approximateMemory(of: bytes)): body = bytes
        case .whole, .busy: return exchange.send(.busy)
        case .tooLarge: return exchange.send(Self.tooLarge)
        case .gone: return
        }
        switch read(body, exchange.request, backend) {
        case .answer(let answer): exchange.send(answer)
        case .modern(let message, let envelope): serve(message, envelope, backend, exchange)
        case .legacy(let message, let envelope, nil) where message.method == RequestMethod.initialize.rawValue:
            exchange.send(await initialize(message, envelope, backend))
        case .legacy(let message, let envelope, let session?): serve(message, envelope, session, backend, exchange)
        case .legacy(let message, let envelope, nil): serve(message, envelope, backend, exchange)
        }
    }

    private static let tooLarge = Answer.json(
        Rejection(error: RPCError(.invalidRequest, "The body is larger than \(maximumBody) bytes.")).json, status: 413)

    /// What is wrong with the request before its body is read.
    private static func refusal(of request: HTTPRequest) -> Answer? {
        guard request.headerFields[.contentType].flatMap(MediaType.init) == .json else {
            return .text("The content type must be application/json.", status: 415)
        }
        let accepted = AcceptedTypes(request.headerFields[.accept])
        guard accepted.has("application/json"), accepted.has(ServerSentEvent.mediaType) else {
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
    private func read(_ body: [UInt8], _ request: HTTPRequest, _ backend: any Backend) -> Reading {
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
                let headers = RoutingHeaders(request.headerFields)
                let envelope = try Envelope.modern(message, headers: headers)
                if message.method == RequestMethod.callTool.rawValue { try server.check(headers, of: message) }
                return .modern(message.lasting(envelope), envelope)
            } catch {
                return .answer(Answer(Response(id: message.id, .failure(error)), isModern: true))
            }
        }
        return readLegacy(message, request, backend)
    }

    private func readLegacy(
        _ message: Message, _ request: HTTPRequest, _ backend: any Backend
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
            let named = request.headerFields[.mcpVersion].flatMap { Revision(rawValue: $0.trimmingSpaces) }
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
        _ message: Request, _ envelope: Envelope, _ backend: any Backend, _ exchange: HTTPExchange
    ) {
        let response = StreamingAnswer(to: exchange, heartbeat)
        let isModern = envelope.isModern
        let answering: @Sendable () async -> Void = { [server] in
            let answer = await server.answer(
                message,
                in: Exchange(envelope: envelope, backend: backend, session: nil) {
                    await response.send(ServerSentEvent.message($0.json))
                })
            if !response.answer(whole: Answer(answer, isModern: isModern)) {
                await response.send(ServerSentEvent.message(answer.json))
                response.finish()
            }
        }
        // Closing the response is the cancel of the modern era; in the legacy one a disconnect is none. A task of its
        // own holds no more than it needs, however long it waits.
        if isModern {
            let work = Task(operation: answering)
            exchange.whenOver { work.cancel() }
        } else if !lasting.begin(answering) {
            exchange.send(.busy)
        }
    }

    /// A request of a session: its stream can be gone back to.
    private func serve(
        _ message: Request, _ envelope: Envelope, _ session: HTTPSession, _ backend: any Backend,
        _ exchange: HTTPExchange
    ) {
        let stream = session.openStream()
        let prime = envelope.revision >= .november2025 ? stream.prime() : nil
        let response = StreamingAnswer(to: exchange, prime: prime, heartbeat)
        stream.attach(response)
        let refusal = session.begin(message.id, on: stream) {
            Task { [server] in
                // Also when its client has left: the message is held, and counts.
                defer { withExtendedLifetime(exchange) {} }
                let answer = await server.answer(
                    message,
                    in: Exchange(envelope: envelope, backend: backend, session: session.session) {
                        // Nothing more is said about a request that its client has cancelled, but that its questions
                        // are void.
                        guard !Task.isCancelled || $0.isWithdrawal else { return }
                        await stream.send($0.json)
                    })
                session.release(message.id, of: stream)
                if !Task.isCancelled { await stream.send(answer) }
                session.ended(stream)
            }
        }
        if let refusal {
            session.forget(stream)
            return exchange.send(Answer(Response(id: message.id, .failure(refusal)), isModern: false))
        }
        exchange.whenOver { stream.detach(response) }
    }
}

// MARK: - GET and DELETE

extension MCPEndpoint {
    /// A stream of the handshake era: for what belongs to no request, or, with `Last-Event-ID`, one that was lost.
    private func get(_ exchange: HTTPExchange, _ backend: any Backend) {
        let request = exchange.request
        guard AcceptedTypes(request.headerFields[.accept]).has(ServerSentEvent.mediaType) else {
            return exchange.send(.text("Accept must list text/event-stream.", status: 406))
        }
        switch session(of: request, backend) {
        case .failure(let error): exchange.send(.json(Rejection(error: error).json, status: 404))
        case .success(nil):
            let response = StreamingAnswer(to: exchange, prime: ServerSentEvent.keepAlive, heartbeat)
            response.begin()
            let work = push(server.watch(for: nil), response) { await response.send(ServerSentEvent.message($0.json)) }
            exchange.whenOver { work.cancel() }
        case .success(let session?): resume(session, exchange)
        }
    }

    private func resume(_ session: HTTPSession, _ exchange: HTTPExchange) {
        let lastID = exchange.request.headerFields[.lastEventID]
        let resumed = lastID.flatMap(session.stream)
        guard let stream = lastID == nil ? session.general : resumed?.stream else { return exchange.send(Self.noEvent) }
        let knowsPrimes = (session.session.facts.revision ?? .assumedWithoutHeader) >= .november2025
        let opening = lastID == nil && knowsPrimes ? session.general.prime() : ServerSentEvent.keepAlive
        let response = StreamingAnswer(to: exchange, prime: opening, heartbeat)
        if let resumed {
            guard stream.attach(response, after: resumed.place) else { return exchange.send(Self.noEvent) }
        } else {
            stream.attach(response)
            response.begin()
        }
        let isGeneral = stream === session.general
        let work = isGeneral ? push(session.changes, response) { await stream.send($0.json) } : nil
        exchange.whenOver {
            work?.cancel()
            stream.detach(response)
        }
    }

    /// Not 404, which would end the session.
    private static let noEvent = Answer.json(
        Rejection(error: RPCError(.invalidRequest, "There is no such event any more; send the request again.")).json,
        status: 400)

    /// Writes what a watch tells until it is cancelled.
    private func push(
        _ changes: CatalogWatch, _ response: StreamingAnswer,
        _ send: @escaping @Sendable (Notification) async -> Void
    ) -> Task<Void, Never> {
        Task { [server] in
            await server.push(changes, send)
            response.finish()
        }
    }

    private func delete(_ request: HTTPRequest, _ backend: any Backend) -> Answer {
        guard let id = request.headerFields[.mcpSessionID] else {
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

extension Answer {
    init(_ response: Response, isModern: Bool) {
        guard case .failure(let error) = response.outcome else {
            self = .json(response.json)
            return
        }
        let fields = error.challenge.map { [(HTTPField.Name.wwwAuthenticate, $0.header)] } ?? []
        self = .json(response.json, status: error.status(isModern: isModern), fields: fields)
    }
}

extension RoutingHeaders {
    init(_ fields: HTTPFields) {
        self.init(
            version: fields[values: .mcpVersion], method: fields[values: .mcpMethod], name: fields[values: .mcpName],
            parameter: { HTTPField.Name("Mcp-Param-" + $0).map { fields[values: $0] } ?? [] })
    }
}
