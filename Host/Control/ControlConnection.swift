import Glibc
import KnapJSON

/// One client's connection, served by a thread of its own.
///
/// The thread blocks in `poll` and nowhere else; what the host does runs in tasks. So a client that is slow, sends half
/// a line or never reads holds up this thread alone.
struct ControlConnection {
    /// The client is gone, or the server stops.
    private struct Ended: Error {}

    /// Non-blocking; closed by the caller.
    let socket: Int32
    /// Readable from the moment on that the server wants to stop: nothing new is begun.
    let leave: Int32
    /// Readable from the moment on that the server stops.
    let stop: Int32
    let backend: any ControlBackend
    let attachments: Attachments

    /// Serves requests, one after another, until either side ends.
    func serve() {
        var reader = LineReader()
        do {
            while let line = try nextLine(&reader) {
                switch parse(line) {
                case .failure(let failure): try answer { _ in .failure(failure) }
                case .success(.call(let method, let input, let deadlineMS)):
                    try answer { onItem in
                        await backend.call(method, input: input, deadlineMS: deadlineMS, onItem: onItem)
                    }
                case .success(.attach(let method, let input)):
                    attachments.enter()
                    defer { attachments.leave() }
                    try attach(method, input, early: reader.takeRest())
                    return
                }
            }
        } catch {
            // The client has nobody to tell.
        }
    }

    private func parse(_ line: [UInt8]) -> Result<ControlRequest, ControlFailure> {
        do {
            return .success(try ControlRequest(line: line))
        } catch {
            return .failure(error)
        }
    }

    /// Nil when the client has sent its last request.
    private func nextLine(_ reader: inout LineReader) throws -> [UInt8]? {
        while true {
            switch reader.next(from: socket) {
            case .line(let line): return line
            case .ended: return nil
            case .incomplete: if try wait(for: POLLIN, watchesLeaving: true) & Self.leaving != 0 { return nil }
            case .tooLong:
                let limit = LineReader.maximumLength >> 20
                try answer { _ in .failure(.invalid("a request may be \(limit) MiB long at most")) }
            }
        }
    }

    private func answer(
        _ reply: @escaping @Sendable (_ onItem: @escaping @Sendable (ControlItem) async -> Void) async -> ControlReply
    ) throws {
        let event = try Event()
        let outbox = Outbox(event: event)
        let task = Task.detached {
            let reply = await reply { await outbox.append($0.line) }
            await outbox.append(reply.line)
            outbox.finish()
        }
        defer {
            task.cancel()
            outbox.close()
        }
        try pump(event, outbox, nil)
    }

    private func attach(_ method: String, _ input: JSON, early: [UInt8]) throws {
        let event = try Event()
        let outbox = Outbox(event: event)
        let inbox = Inbox(event: event)
        inbox.append(early)
        let task = Task.detached { [backend] in
            await Self.connect(method, input, backend, inbox, outbox)
            outbox.finish()
        }
        defer {
            task.cancel()
            inbox.finish()
            outbox.close()
        }
        try pump(event, outbox, inbox)
    }

    private static func connect(
        _ method: String, _ input: JSON, _ backend: any ControlBackend, _ inbox: Inbox, _ outbox: Outbox
    ) async {
        let duplex: any ByteDuplex
        do {
            duplex = try await backend.attach(method, input: input)
        } catch {
            await outbox.append(ControlReply.failure(error).line)
            return
        }
        await outbox.append(ControlAnswer.attachedLine)
        await withTaskCancellationHandler {
            async let sending: Void = send(inbox, to: duplex)
            while let bytes = try? await duplex.receive() { await outbox.append(bytes) }
            // The call has ended: whatever the client still sends has no reader.
            outbox.finish()
            inbox.finish()
            await sending
        } onCancel: {
            duplex.cancel()
        }
    }

    private static func send(_ inbox: Inbox, to duplex: any ByteDuplex) async {
        while let bytes = await inbox.next() {
            guard (try? await duplex.send(bytes)) != nil else { break }
        }
        await duplex.finishSending()
    }

    /// Moves bytes until the outbox has ended and is sent. With an inbox, what the client sends goes there; without,
    /// it waits in the socket for its turn.
    private func pump(_ event: Event, _ outbox: Outbox, _ inbox: Inbox?) throws {
        var pending: ArraySlice<UInt8> = []
        var isLast = false
        var clientSends = inbox != nil
        var isLeaving = false
        while true {
            event.clear()
            if pending.isEmpty {
                let taken = outbox.take()
                (pending, isLast) = (taken.bytes[...], taken.isLast)
            }
            try write(&pending)
            // The end may come with the last bytes, and is then not signalled again.
            if isLast, pending.isEmpty { return }
            // Told while the rest of what was taken before was still to be sent.
            if pending.isEmpty, outbox.hasMore { continue }
            let reads = clientSends && inbox?.hasRoom == true
            let interests = (reads ? POLLIN : 0) | (pending.isEmpty ? 0 : POLLOUT)
            let ready = try wait(for: interests, or: event, watchesLeaving: !isLeaving)
            if ready & Self.leaving != 0 {
                // As if the client had ended: what it asked is answered.
                (isLeaving, clientSends) = (true, false)
                inbox?.finish()
                continue
            }
            guard reads, ready & POLLIN != 0, let inbox else { continue }
            switch readSome(socket) {
            case .bytes(let bytes): inbox.append(bytes)
            case .wouldBlock: break
            case .ended:
                clientSends = false
                inbox.finish()
            }
        }
    }

    private func write(_ pending: inout ArraySlice<UInt8>) throws {
        while !pending.isEmpty {
            let count = UnixSocket.send(pending, on: socket)
            if count >= 0 {
                pending = pending.dropFirst(count)
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                throw Ended()
            }
        }
    }

    /// Sleeps until the socket is ready for one of `interests` or the event is signalled; returns what the socket is
    /// ready for.
    ///
    /// A client that has shut down its sending half alone still gets its answers: POLLHUP means both halves (unix(7)).
    private func wait(for interests: Int32, or event: Event? = nil, watchesLeaving: Bool) throws -> Int32 {
        var descriptors = [
            pollfd(fd: socket, events: Int16(interests), revents: 0),
            pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
            pollfd(fd: event?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
            pollfd(fd: watchesLeaving ? leave : -1, events: Int16(POLLIN), revents: 0),
        ]
        while poll(&descriptors, 4, -1) < 0 {
            guard errno == EINTR else { throw Ended() }
        }
        let ready = Int32(descriptors[0].revents)
        if descriptors[1].revents != 0 || ready & (POLLERR | POLLNVAL) != 0 { throw Ended() }
        if ready & POLLHUP != 0, ready & POLLIN == 0 { throw Ended() }
        return descriptors[3].revents != 0 ? ready | Self.leaving : ready
    }

    /// Besides what `poll` tells of the socket: the server wants to stop.
    private static let leaving: Int32 = 1 << 20
}
