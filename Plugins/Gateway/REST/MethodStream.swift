import HTTPTypes
import HummingbirdCore
import KnapJSON
import NIOCore
import Synchronization

/// The answer of a method that streams: each item goes out as it comes.
///
/// Items of JSON become server-sent events (HTML, section 9.2): `message` for each, then `result` where the method says
/// something at its end, or `error` with a problem. Items of another type are sent as they are, and a failure breaks
/// the response off.
struct MethodStream: Sendable {
    let call: BackendCall
    let type: MediaType
    let heartbeat: Heartbeat
    let open: OpenStreams

    private var isEvents: Bool { type.isJSON }

    var head: HTTPResponse {
        var head = HTTPResponse(status: .ok)
        head.headerFields[.contentType] = isEvents ? "text/event-stream" : type.name
        head.headerFields[.cacheControl] = "no-store"
        head.headerFields[.accelBuffering] = "no"
        head.headerFields[.xContentTypeOptions] = "nosniff"
        return head
    }

    /// A client that does not read makes the method wait.
    func respond(from backend: any Backend, _ writer: consuming ResponseWriter) async throws {
        let queue = EventQueue()
        let work = Task { () -> Result<BackendReply, CallFailure> in
            defer { queue.finish() }
            do throws(CallFailure) {
                return .success(
                    try await backend.call(call) { note in
                        if case .data(let bytes) = note { await queue.send(.bytes(framed("message", bytes))) }
                    })
            } catch {
                return .failure(error)
            }
        }
        let place = open.add { work.cancel() }
        let left: @Sendable () -> Void = {
            queue.abandon()
            work.cancel()
        }
        ConnectionEnd.current?.handle(left)
        if isEvents { heartbeat.add(queue) }
        defer {
            open.remove(place)
            ConnectionEnd.current?.handle(nil)
            heartbeat.remove(queue)
            left()
        }
        guard let first = await queue.next() else {
            // Nothing was sent, so a failure can still be the whole answer.
            if case .failure(let failure) = await work.value {
                return try await ProblemDetails(told(failure)).answer.send(writer)
            }
            return try await write(nil, queue, work, writer)
        }
        try await write(first, queue, work, writer)
    }

    private func write(
        _ first: StreamEvent?, _ queue: EventQueue, _ work: Task<Result<BackendReply, CallFailure>, Never>,
        _ writer: consuming ResponseWriter
    ) async throws {
        var body = try await writer.writeHead(head)
        var event = first
        while let next = event {
            try await body.write(next.bytes)
            event = await queue.next()
        }
        switch await work.value {
        case .success(let reply):
            if !reply.body.isEmpty { try await body.write(framed("result", reply.body)) }
        case .failure(let failure):
            guard isEvents else { throw failure }
            var problem: [UInt8] = []
            ProblemDetails(told(failure)).json.write(into: &problem)
            try await body.write(framed("error", problem))
        }
        try await body.finish(nil)
    }

    /// Who is cut off because the Gateway ends may come back.
    private func told(_ failure: CallFailure) -> CallFailure {
        guard failure.code == .cancelled, open.isClosed else { return failure }
        return CallFailure(.unavailable, "The gateway is being replaced; ask again.")
    }

    private func framed(_ event: String, _ bytes: [UInt8]) -> ByteBuffer {
        guard isEvents else { return ByteBuffer(bytes: bytes) }
        var text = Array("event: \(event)\n".utf8)
        // A line end of any kind inside would end the field.
        for line in bytes.split(omittingEmptySubsequences: false, whereSeparator: { $0 == 10 || $0 == 13 }) {
            text += Array("data: ".utf8)
            text += line
            text.append(10)
        }
        text.append(10)
        return ByteBuffer(bytes: text)
    }
}

/// The streams that are open, which end when the Gateway does: others would be waited for.
package final class OpenStreams: Sendable {
    private struct State {
        var ends: [Int: @Sendable () -> Void] = [:]
        var next = 0
        var isClosed = false
    }

    private let state = Mutex(State())

    package init() {}

    package var isClosed: Bool { state.withLock { $0.isClosed } }

    func add(_ end: @escaping @Sendable () -> Void) -> Int {
        let (place, isClosed) = state.withLock { state in
            state.next += 1
            state.ends[state.next] = end
            return (state.next, state.isClosed)
        }
        if isClosed { end() }
        return place
    }

    func remove(_ place: Int) { state.withLock { _ = $0.ends.removeValue(forKey: place) } }

    /// The Gateway goes on after all.
    package func open() { state.withLock { $0.isClosed = false } }

    package func close() {
        let ends = state.withLock { state in
            state.isClosed = true
            return Array(state.ends.values)
        }
        for end in ends { end() }
    }
}
