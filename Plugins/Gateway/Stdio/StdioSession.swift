import KnapJSON
import Synchronization

/// One MCP client on a stream of lines, in either era or both: requests run at once and are answered as they end.
package final class StdioSession: Sendable {
    /// How much one client can have going at once.
    package struct Limits: Sendable {
        /// Past it no further line is read until an answer has gone out.
        package var requests = 256
        /// They last, so they are bounded apart; past it they are refused.
        package var subscriptions = 16
        package var lineBytes = LineFramer.defaultLimit
        /// How long requests may go on after the client has closed its end.
        package var lingering = Duration.seconds(5)

        package init() {}
    }

    struct State {
        var running: [RequestID: Task<Void, Never>] = [:]
        /// Of the running ones, those that are subscriptions.
        var subscriptions: Set<RequestID> = []
        /// Set by `initialize`; nil until a legacy client has come.
        var revision: Revision?
        var logLevel: LogLevel?
        var pushing: Task<Void, Never>?
        /// Reading waits for this when too many requests run.
        var room: CheckedContinuation<Void, Never>?
        var idle: CheckedContinuation<Void, Never>?
    }

    private let server: Server
    private let backend: any Backend
    private let limits: Limits
    private let writer: LineWriter
    private let state = Mutex(State())

    package init(
        server: Server, backend: any Backend, limits: Limits = Limits(),
        send: @escaping @Sendable ([UInt8]) async throws -> Void
    ) {
        self.server = server
        self.backend = backend
        self.limits = limits
        writer = LineWriter(send: send)
    }

    /// Serves until the input ends, then until what is in flight is answered, for a bounded time.
    package func run<Chunks: AsyncSequence>(_ chunks: Chunks) async throws where Chunks.Element == [UInt8] {
        var framer = LineFramer(limit: limits.lineBytes)
        do {
            for try await chunk in chunks {
                for line in framer.push(chunk) { await take(line) }
            }
        } catch {
            stop()
            throw error
        }
        if let last = framer.finish() { await take(last) }
        await linger()
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
                case .request(let request): await start(request)
                case .notification(let notification): take(notification)
                case .response: break
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
        let task = state.withLock { state in
            state.subscriptions.remove(id)
            return state.running.removeValue(forKey: id)
        }
        task?.cancel()
        madeRoom()
    }

    private func start(_ request: Request) async {
        let envelope: Envelope
        do throws(RPCError) {
            envelope = try self.envelope(of: request)
        } catch {
            return await writer.write(Response(id: request.id, .failure(error)).json)
        }
        await room()
        let refusal = state.withLock { state in
            if let refusal = state.refusal(of: request, limits) { return Optional(refusal) }
            if request.method == RequestMethod.listen.rawValue { state.subscriptions.insert(request.id) }
            // Under the lock, so that the task cannot end before it is registered.
            state.running[request.id] = Task { await self.serve(request, envelope) }
            return nil
        }
        if let refusal { await writer.write(Response(id: request.id, .failure(refusal)).json) }
    }

    /// Reads the envelope in the era that the request itself shows, and keeps what a legacy client says for later.
    private func envelope(of request: Request) throws(RPCError) -> Envelope {
        if Envelope.isModern(request) { return try Envelope.modern(request) }
        return state.withLock { state in
            if request.method == RequestMethod.setLogLevel.rawValue {
                state.logLevel =
                    request.params["level"]?.stringValue.flatMap(LogLevel.init(rawValue:)) ?? state.logLevel
            }
            return .legacy(request, revision: state.revision ?? .newestLegacy, logLevel: state.logLevel)
        }
    }

    private func serve(_ request: Request, _ envelope: Envelope) async {
        let exchange = Exchange(envelope: envelope, backend: backend) { [weak self] notification in
            guard let self, self.isRunning(request.id) else { return }
            await self.writer.write(notification.json)
        }
        let response = await server.answer(request, in: exchange)
        let isWanted = state.withLock { state in
            state.subscriptions.remove(request.id)
            return state.running[request.id] != nil
        }
        if isWanted, !Task.isCancelled { await writer.write(response.json) }
        if request.method == RequestMethod.initialize.rawValue { welcome(response) }
        let idle = state.withLock { state in
            state.running[request.id] = nil
            return state.takeIdle()
        }
        idle?.resume()
        madeRoom()
    }

    private func isRunning(_ id: RequestID) -> Bool { state.withLock { $0.running[id] != nil } }

    /// From its `initialize` on a legacy client hears of every change.
    private func welcome(_ response: Response) {
        guard case .success(let result) = response.outcome,
            let revision = result["protocolVersion"]?.stringValue.flatMap(Revision.init(rawValue:))
        else { return }
        state.withLock { state in
            state.revision = revision
            guard state.pushing == nil else { return }
            state.pushing = Task { [server, writer] in
                await server.pushListChanges { await writer.write($0.json) }
            }
        }
    }

    // MARK: - Bounds

    private func room() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let hasRoom = state.withLock { state in
                guard state.running.count - state.subscriptions.count >= limits.requests else { return true }
                state.room = continuation
                return false
            }
            if hasRoom { continuation.resume() }
        }
    }

    private func madeRoom() {
        let reader = state.withLock { state in
            defer { state.room = nil }
            return state.room
        }
        reader?.resume()
    }

    // MARK: - The end

    private func linger() async {
        let subscriptions = state.withLock { state in state.subscriptions.compactMap { state.running[$0] } }
        for task in subscriptions { task.cancel() }
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
        let (tasks, idle) = state.withLock { state in
            let tasks = Array(state.running.values) + [state.pushing].compactMap(\.self)
            state.running = [:]
            state.pushing = nil
            return (tasks, state.takeIdle())
        }
        for task in tasks { task.cancel() }
        idle?.resume()
    }
}

extension StdioSession.State {
    mutating func refusal(of request: Request, _ limits: StdioSession.Limits) -> RPCError? {
        guard running[request.id] == nil else {
            return RPCError(.invalidRequest, "A request with this id is still running.")
        }
        guard request.method == RequestMethod.listen.rawValue, subscriptions.count >= limits.subscriptions else {
            return nil
        }
        return RPCError(.invalidRequest, "There are already \(limits.subscriptions) subscriptions; cancel one first.")
    }

    /// Whoever waits for the end of all requests, if they have ended.
    mutating func takeIdle() -> CheckedContinuation<Void, Never>? {
        guard running.isEmpty else { return nil }
        defer { idle = nil }
        return idle
    }
}
