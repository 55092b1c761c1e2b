import KnapJSON
import Synchronization

/// One MCP client on a stream of lines, in either era or both: requests run at once and are answered as they end.
package final class StdioSession: Sendable {
    /// How much one client can have going at once.
    package struct Limits: Sendable {
        /// What comes past it waits for an answer to go out.
        package var requests = 32
        /// The same, for what the requests take together: one may take more.
        package var requestBytes = 256 << 20
        /// The same, for what waits for the client to read it.
        package var unreadBytes = 8 << 20
        /// How many requests, and bytes of them, are read although they have to wait: what the client says to those that run
        /// comes after them. Past it nothing is read.
        package var waiting = 1024, waitingBytes = 16 << 20
        /// They last, so they are bounded apart; past it they are refused.
        package var subscriptions = 16
        package var lineBytes = LineFramer.defaultLimit
        /// How long requests may go on after the client has closed its end.
        package var lingering = Duration.seconds(5)

        package init() {}
    }

    struct State {
        var requests = RequestTable()
        /// What a client of the handshake era hears of, and the task that tells it.
        var changes: CatalogWatch?
        var pushing: Task<Void, Never>?
        var reading: Task<(consumed: Int, last: LineFramer.Line?), any Error>?
        var isMoving = false
        /// The input has ended.
        var isEnding = false
        /// Reading waits for this when too many requests wait.
        var room: CheckedContinuation<Void, Never>?
        var idle: CheckedContinuation<Void, Never>?

        /// Whoever waits for the end of all requests, if they have ended.
        mutating func takeIdle() -> CheckedContinuation<Void, Never>? {
            guard requests.isEmpty else { return nil }
            defer { idle = nil }
            return idle
        }
    }

    private let server: Server
    private let backend: any Backend
    private let limits: Limits
    private let writer: LineWriter
    /// What a client of the handshake era has said; unused by others.
    private let session: Session
    /// The lists as the client knows them from the generation before.
    private let known: ListDigests?
    private let state = Mutex(State())

    package init(
        server: Server, backend: any Backend, limits: Limits = Limits(), resuming moved: MovedSession? = nil,
        send: @escaping @Sendable ([UInt8]) async throws -> Void
    ) {
        self.server = server
        self.backend = backend
        self.limits = limits
        session = Session(moved?.facts ?? Session.Facts())
        known = moved?.lists
        writer = LineWriter(send: send)
    }

    /// Serves until the input ends, then until what is in flight is answered, for a bounded time. Nil then; where the
    /// session was moved before, what the next generation needs to go on with it.
    @discardableResult
    package func run<Chunks: AsyncSequence & Sendable>(_ chunks: Chunks) async throws -> MovedSession?
    where Chunks.Element == [UInt8] {
        let reading = Task { [self] in try await read(chunks) }
        let isMoving = state.withLock { state in
            state.reading = reading
            return state.isMoving
        }
        if isMoving { reading.cancel() }
        do {
            // Whoever cancels this task gives the client up.
            let read = try await withTaskCancellationHandler { try await reading.value } onCancel: {
                reading.cancel()
                stop()
            }
            if state.withLock({ $0.isMoving }) {
                return await withTaskCancellationHandler { await leave(consumed: read.consumed) } onCancel: { stop() }
            }
            if let last = read.last { await take(last) }
            await linger()
            return nil
        } catch {
            stop()
            throw error
        }
    }

    private func read<Chunks: AsyncSequence & Sendable>(
        _ chunks: Chunks
    ) async throws -> (consumed: Int, last: LineFramer.Line?) where Chunks.Element == [UInt8] {
        var framer = LineFramer(limit: limits.lineBytes)
        var received = 0
        do {
            for try await chunk in chunks {
                received += chunk.count
                for line in framer.push(chunk) { await take(line) }
            }
        } catch {
            guard state.withLock({ $0.isMoving }) else { throw error }
        }
        let consumed = received - framer.openBytes
        return (consumed, state.withLock { $0.isMoving } ? nil : framer.finish())
    }

    // MARK: - Moving to the next generation

    /// Reads no further, answers what it has read, and has ``run(_:)`` return what the next generation needs.
    package func move() {
        let reading = state.withLock { state in
            state.isMoving = true
            return state.reading
        }
        // Nobody would read the answers.
        session.questions.fail("The server is being replaced; call the tool again.")
        reading?.cancel()
    }

    private func leave(consumed: Int) async -> MovedSession {
        // First: what changes meanwhile may be told twice, and is not missed.
        let lists = server.catalog.settled ?? known
        // Subscriptions go on elsewhere: they end here without an answer.
        let subscriptions = state.withLock { $0.requests.removeSubscriptions() }
        for running in subscriptions { running.task.cancel() }
        await idle()
        let listening = subscriptions.map(\.request).sorted { "\($0.id)" < "\($1.id)" }
        let untold = state.withLock { $0.changes }?.untold ?? Changes()
        let moved = MovedSession(
            consumed: consumed, facts: session.facts, listening: listening.map(\.json), lists: lists, untold: untold)
        stop()
        return moved
    }

    /// Goes on with a session that another generation left.
    package func resume(_ moved: MovedSession) async {
        if moved.facts.revision != nil { push(moved.untold, since: known) }
        for json in moved.listening {
            guard case .request(let request)? = try? Message.parse(Array(json.serialized().utf8)),
                let envelope = try? envelope(of: request)
            else { continue }
            state.withLock { begin(.init(request: request, envelope: envelope, size: 0), &$0, isResumed: true) }
        }
    }

    // MARK: - Messages

    private func take(_ line: LineFramer.Line) async {
        switch line {
        case .tooLong:
            let error = RPCError(.invalidRequest, "The message is longer than \(limits.lineBytes) bytes.")
            await writer.write(Rejection(error: error).json)
        case .text(let bytes):
            do {
                switch try Message.parse(bytes) {
                case .request(let request): await start(request, size: JSON.approximateMemory(of: bytes))
                case .notification(let notification): take(notification)
                case .response(let response): session.questions.take(response)
                }
            } catch {
                await writer.write(error.json)
            }
        }
    }

    private func take(_ notification: Notification) {
        guard notification.method == "notifications/cancelled", let id = RequestID(notification.params["requestId"])
        else {
            return
        }
        // Taken out first: nothing may be sent for a cancelled id any more.
        state.withLock { $0.requests.remove(id) }?.cancel()
        madeRoom()
    }

    private func start(_ request: Request, size: Int) async {
        let envelope: Envelope
        do throws(RPCError) {
            envelope = try self.envelope(of: request)
        } catch {
            return await writer.write(Response(id: request.id, .failure(error)).json)
        }
        let asked = RequestTable.Asked(request: request.lasting(envelope), envelope: envelope, size: size)
        await room(for: asked)
        let refusal = state.withLock { state -> RPCError? in
            switch state.requests.admission(of: asked, unread: writer.unread, asking: session.questions.count, limits) {
            case .refused(let error): return error
            case .begins: begin(asked, &state)
            case .waits, .full: state.requests.wait(asked)
            }
            return nil
        }
        if let refusal { await writer.write(Response(id: request.id, .failure(refusal)).json) }
    }

    /// Under the lock, so that the task cannot end before it is registered.
    private func begin(_ asked: RequestTable.Asked, _ state: inout State, isResumed: Bool = false) {
        state.requests.begin(asked) { number in Task { await self.serve(asked, number, isResumed: isResumed) } }
    }

    /// Reads the envelope in the era that the request itself shows, and keeps what a legacy client says for later.
    private func envelope(of request: Request) throws(RPCError) -> Envelope {
        if Envelope.isModern(request) { return try Envelope.modern(request) }
        return .legacy(request, header: session.facts.revision ?? .newestLegacy, session: session)
    }

    private func serve(_ asked: RequestTable.Asked, _ number: Int, isResumed: Bool) async {
        let (request, envelope) = (asked.request, asked.envelope)
        let exchange = Exchange(
            envelope: envelope, backend: backend, session: envelope.isModern ? nil : session,
            known: isResumed ? known : nil
        ) { [weak self] message in
            guard let self, self.isRunning(request.id, number) || message.isWithdrawal else { return }
            // Who waits for the client's answer must not keep it from being read.
            if case .request = message { self.madeRoom() }
            // The client heard it from the generation before.
            if isResumed, case .notification(let notification) = message, notification.method == Server.acknowledged {
                return
            }
            await self.writer.write(message.json)
        }
        let response = await server.answer(request, in: exchange)
        if isRunning(request.id, number) {
            if !Task.isCancelled {
                await writer.write(response.json)
            } else if asked.isSubscription, state.withLock({ $0.isEnding }) {
                await writer.write((response.isCancelled ? server.endOfSubscription(request, exchange) : response).json)
            }
        }
        // From its `initialize` on a legacy client hears of every change.
        if request.method == RequestMethod.initialize.rawValue { push() }
        state.withLock { $0.requests.ended(request.id, number) }
        madeRoom()
    }

    private func isRunning(_ id: RequestID, _ number: Int) -> Bool {
        state.withLock { $0.requests.isRunning(id, number) }
    }

    private func push(_ untold: Changes = Changes(), since known: ListDigests? = nil) {
        let changes = server.watch(for: session, since: known)
        changes.tell(untold)
        state.withLock { state in
            guard state.pushing == nil else { return }
            state.changes = changes
            state.pushing = Task { [server, writer] in
                await server.push(changes) { await writer.write($0.json) }
            }
        }
    }

    // MARK: - Bounds

    /// Returns when one more may be begun, or wait.
    private func room(for asked: RequestTable.Asked) async {
        var isFull = true
        while isFull, !Task.isCancelled {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let goesOn = state.withLock { state in
                    if case .full = state.requests.admission(of: asked, unread: writer.unread, asking: session.questions.count, limits) {
                        state.room = continuation
                    } else {
                        isFull = false
                    }
                    return !isFull
                }
                if goesOn { continuation.resume() }
            }
        }
    }

    /// Begins what waits, and tells whoever waits for room or for the end.
    private func madeRoom() {
        let (reader, idle) = state.withLock { state in
            while let next = state.requests.next(unread: writer.unread, asking: session.questions.count, limits) { begin(next, &state) }
            defer { state.room = nil }
            return (state.room, state.takeIdle())
        }
        reader?.resume()
        idle?.resume()
    }

    // MARK: - The end

    private func linger() async {
        let subscriptions = state.withLock { state in
            state.isEnding = true
            return state.requests.subscriptions
        }
        for running in subscriptions { running.task.cancel() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.idle() }
            group.addTask { [limits] in try? await Task.sleep(for: limits.lingering) }
            await group.next()
            stop()
            group.cancelAll()
        }
    }

    /// Returns when no request runs.
    private func idle() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isIdle = state.withLock { state in
                state.idle = continuation
                return state.takeIdle() != nil
            }
            if isIdle { continuation.resume() }
        }
    }

    private func stop() {
        let (tasks, reader, idle) = state.withLock { state in
            let tasks = state.requests.removeAll() + [state.pushing].compactMap(\.self)
            state.pushing = nil
            return (tasks, state.room.take(), state.takeIdle())
        }
        for task in tasks { task.cancel() }
        session.questions.close()
        reader?.resume()
        idle?.resume()
    }
}
