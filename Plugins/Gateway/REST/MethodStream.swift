import KnapJSON
import NIOCore
import NIOHTTP1
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

    private var head: HTTPResponseHead {
        HTTPResponseHead(
            version: .http1_1, status: .ok,
            headers: [
                "Content-Type": isEvents ? ServerSentEvent.mediaType : type.name, "Cache-Control": "no-store",
                "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
            ])
    }

    /// A client that does not read makes the method wait.
    func respond(to exchange: HTTPExchange, from backend: any Backend) async {
        let answer = StreamingAnswer(to: exchange, head: head, isEvents ? heartbeat : nil)
        // Nothing is streamed to whoever wants only the head.
        if exchange.request.method == .head {
            answer.begin()
            return answer.finish()
        }
        let place = open.add { exchange.giveUp() }
        defer { open.remove(place) }
        do throws(CallFailure) {
            let reply = try await backend.call(call) { note in
                if case .data(let bytes) = note { await answer.send(framed("message", bytes)) }
            }
            answer.begin()
            if !reply.body.isEmpty { await answer.send(framed("result", reply.body)) }
            answer.finish()
        } catch {
            let problem = ProblemDetails(told(error))
            // Nothing was sent, so a failure can still be the whole answer.
            if answer.answer(whole: problem.answer) { return }
            guard isEvents else { return answer.breakOff() }
            var text: [UInt8] = []
            problem.json.write(into: &text)
            await answer.send(framed("error", text))
            answer.finish()
        }
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
