import Glibc

/// Passes bytes between an MCP client on stdin and stdout and the host's socket.
///
/// It ends when the client has closed stdin and the pending answers are out (within a bound), when stdout is gone, when
/// the client's process has ended, or when the host has.
struct RelayPump {
    /// Clients give a server about two seconds after they have closed its stdin.
    private static let flushMS = 1500
    private static let chunk = 64 << 10
    /// A pipe that is ready for writing has room for this much (PIPE_BUF, pipe(7)), so no write blocks.
    private static let pipeWrite = 4096

    let socket: Int32
    /// The client's pidfd, or -1.
    let client: Int32

    private struct Flow {
        var bytes: ArraySlice<UInt8> = []
        var isOpen = true
    }

    func run(early: [UInt8]) -> Int32 {
        var toHost = Flow()
        var toClient = Flow(bytes: early[...])
        var flushUntil: Int?
        while true {
            if !toHost.isOpen, toHost.bytes.isEmpty, flushUntil == nil {
                shutdown(socket, Int32(SHUT_WR))
                flushUntil = Clock.milliseconds() + Self.flushMS
            }
            if !toClient.isOpen, toClient.bytes.isEmpty { return hostEnded(flushUntil != nil) }
            let timeout = flushUntil.map { Int32(max(0, $0 - Clock.milliseconds())) } ?? -1
            guard let ready = wait(toHost, toClient, timeout) else { return ExitStatus.ok }
            if ready.clientEnded { return ExitStatus.ok }
            if ready.toRead(0) { receive(STDIN_FILENO, into: &toHost) }
            if ready.toRead(1) { receive(socket, into: &toClient) }
            if ready.toWrite(1), !send(&toHost, on: socket) { toHost = Flow(isOpen: false) }
            if ready.toWrite(2), !send(&toClient, on: STDOUT_FILENO) { return ExitStatus.ok }
        }
    }

    private func hostEnded(_ expected: Bool) -> Int32 {
        if expected { return ExitStatus.ok }
        Output.note("knap mcp: the host has ended; start this server again to reconnect")
        return ExitStatus.unavailable
    }

    private struct Ready {
        var descriptors: [pollfd]
        var clientEnded: Bool { descriptors[3].revents != 0 }

        func toRead(_ index: Int) -> Bool {
            let ends = Int32(POLLIN | POLLHUP | POLLERR)
            return Int32(descriptors[index].events) & Int32(POLLIN) != 0 && Int32(descriptors[index].revents) & ends != 0
        }
        func toWrite(_ index: Int) -> Bool {
            let ends = Int32(POLLOUT | POLLHUP | POLLERR)
            return Int32(descriptors[index].events) & Int32(POLLOUT) != 0 && Int32(descriptors[index].revents) & ends != 0
        }
    }

    /// Nil when the time is over, or stdout has no reader any more.
    private func wait(_ toHost: Flow, _ toClient: Flow, _ timeout: Int32) -> Ready? {
        let readsClient = toHost.isOpen && toHost.bytes.isEmpty
        let readsHost = toClient.isOpen && toClient.bytes.isEmpty
        let socketEvents = (readsHost ? Int32(POLLIN) : 0) | (toHost.bytes.isEmpty ? 0 : Int32(POLLOUT))
        var descriptors = [
            pollfd(fd: readsClient ? STDIN_FILENO : -1, events: Int16(POLLIN), revents: 0),
            pollfd(fd: socketEvents == 0 ? -1 : socket, events: Int16(socketEvents), revents: 0),
            // Without interest in writing, a pipe still tells that its reader is gone.
            pollfd(fd: STDOUT_FILENO, events: toClient.bytes.isEmpty ? 0 : Int16(POLLOUT), revents: 0),
            pollfd(fd: client, events: Int16(POLLIN), revents: 0),
        ]
        var count: Int32
        repeat { count = poll(&descriptors, 4, timeout) } while count < 0 && errno == EINTR
        if count <= 0 || Int32(descriptors[2].revents) & Int32(POLLERR | POLLNVAL) != 0 { return nil }
        return Ready(descriptors: descriptors)
    }

    private func receive(_ descriptor: Int32, into flow: inout Flow) {
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, filled in
            repeat { count = read(descriptor, buffer.baseAddress, Self.chunk) } while count < 0 && errno == EINTR
            filled = max(count, 0)
        }
        if count > 0 { flow.bytes = bytes[...] } else if count == 0 || errno != EAGAIN { flow.isOpen = false }
    }

    /// False when the other end is gone.
    private func send(_ flow: inout Flow, on descriptor: Int32) -> Bool {
        let count = flow.bytes.withUnsafeBytes { bytes in
            // stdout may be a socket as well: some clients start servers with socket pairs.
            let sent = Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT))
            if sent >= 0 || errno != ENOTSOCK { return sent }
            return write(descriptor, bytes.baseAddress, min(bytes.count, Self.pipeWrite))
        }
        if count >= 0 {
            flow.bytes = flow.bytes.dropFirst(count)
            return true
        }
        return errno == EAGAIN || errno == EINTR
    }
}
