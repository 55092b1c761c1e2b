import CLinux
import Glibc

/// Passes bytes between an MCP client on stdin and stdout and the host's socket.
///
/// It ends when the client has closed stdin, or a signal asks for it, and the pending answers are out (within a bound);
/// when stdout is gone, when the client's process has ended, or when the host has.
struct RelayPump {
    /// How long nothing may move once the client leaves. Clients give a server about two seconds.
    private static let flushMS = 1500
    /// For answers that keep coming: a little longer than the host goes on with a session that has ended.
    private static let longestFlushMS = 6000
    private static let chunk = 64 << 10
    /// A pipe that is ready for writing has room for this much (PIPE_BUF, pipe(7)), so no write blocks.
    private static let pipeWrite = 4096

    let socket: Int32
    /// The client's pidfd, or -1.
    let client: Int32
    /// A signalfd, or -1.
    let signals: Int32

    private struct Flow {
        var bytes: ArraySlice<UInt8> = []
        var isOpen = true
    }

    /// How the client leaves.
    private enum Leaving {
        case no
        /// It has closed stdin, from which there is more to read.
        case closed(lastMove: Int)
        /// The host was told that nothing follows.
        case flushing(lastMove: Int, until: Int)

        var end: Int? {
            switch self {
            case .no: nil
            case .closed(let lastMove): lastMove + flushMS
            case .flushing(let lastMove, let end): min(lastMove + flushMS, end)
            }
        }

        static func flushing(longest: Int) -> Leaving {
            let now = Clock.milliseconds()
            return .flushing(lastMove: now, until: now + longest)
        }

        mutating func moved() {
            switch self {
            case .no: break
            case .closed: self = .closed(lastMove: Clock.milliseconds())
            case .flushing(_, let end): self = .flushing(lastMove: Clock.milliseconds(), until: end)
            }
        }
    }

    func run(early: [UInt8]) -> Int32 {
        var toHost = Flow()
        var toClient = Flow(bytes: early[...])
        var leaving = Leaving.no
        var isTold = false
        var wasAsked = false
        while true {
            if !toHost.isOpen, toHost.bytes.isEmpty, !isTold {
                shutdown(socket, Int32(SHUT_WR))
                isTold = true
                if !wasAsked { leaving = .flushing(longest: Self.longestFlushMS) }
            }
            if !toClient.isOpen, toClient.bytes.isEmpty { return hostEnded(isTold || wasAsked) }
            guard let ready = wait(toHost, toClient, leaving) else { return ExitStatus.ok }
            if ready.has(.client) { return ExitStatus.ok }
            if ready.has(.signals) {
                let number = knap_next_signal(signals)
                if wasAsked { return 128 + number }
                wasAsked = true
                toHost.isOpen = false
                leaving = .flushing(longest: Self.flushMS)
            }
            var hasMoved = false
            if ready.toRead(.input), toHost.isOpen { hasMoved = receive(STDIN_FILENO, into: &toHost) }
            if ready.toRead(.socket) { hasMoved = receive(socket, into: &toClient) || hasMoved }
            if ready.toWrite(.socket) {
                hasMoved = true
                if !send(&toHost, on: socket) { toHost = Flow(isOpen: false) }
            }
            if ready.toWrite(.output) {
                hasMoved = true
                if !send(&toClient, on: STDOUT_FILENO) { return ExitStatus.ok }
            }
            if hasMoved {
                leaving.moved()
            } else if ready.inputEnded, case .no = leaving {
                leaving = .closed(lastMove: Clock.milliseconds())
            }
        }
    }

    private func hostEnded(_ expected: Bool) -> Int32 {
        if expected { return ExitStatus.ok }
        Output.note("knap mcp: the host has ended; start this server again to reconnect")
        return ExitStatus.unavailable
    }

    private enum Place: Int { case input, socket, output, client, signals }

    private struct Ready {
        var descriptors: [pollfd]

        func has(_ place: Place) -> Bool { descriptors[place.rawValue].revents != 0 }

        /// Nobody writes to stdin any more, though there may be something to read.
        var inputEnded: Bool { Int32(descriptors[Place.input.rawValue].revents) & Int32(POLLHUP) != 0 }

        func toRead(_ place: Place) -> Bool { isReady(place, POLLIN) }
        func toWrite(_ place: Place) -> Bool { isReady(place, POLLOUT) }

        private func isReady(_ place: Place, _ interest: Int32) -> Bool {
            let descriptor = descriptors[place.rawValue]
            let ends = interest | Int32(POLLHUP | POLLERR)
            return Int32(descriptor.events) & interest != 0 && Int32(descriptor.revents) & ends != 0
        }
    }

    /// Nil when the time is over, or stdout has no reader any more.
    private func wait(_ toHost: Flow, _ toClient: Flow, _ leaving: Leaving) -> Ready? {
        let readsClient = toHost.isOpen && toHost.bytes.isEmpty
        let readsHost = toClient.isOpen && toClient.bytes.isEmpty
        let socketEvents = (readsHost ? Int32(POLLIN) : 0) | (toHost.bytes.isEmpty ? 0 : Int32(POLLOUT))
        // Without interest in reading a pipe still tells that its writer is gone; once that is known it is not asked again.
        let watchesInput = if case .no = leaving { toHost.isOpen } else { readsClient }
        var descriptors = [
            pollfd(fd: watchesInput ? STDIN_FILENO : -1, events: readsClient ? Int16(POLLIN) : 0, revents: 0),
            pollfd(fd: socketEvents == 0 ? -1 : socket, events: Int16(socketEvents), revents: 0),
            // Without interest in writing, a pipe still tells that its reader is gone.
            pollfd(fd: STDOUT_FILENO, events: toClient.bytes.isEmpty ? 0 : Int16(POLLOUT), revents: 0),
            pollfd(fd: client, events: Int16(POLLIN), revents: 0),
            pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
        ]
        let timeout = leaving.end.map { Int32(max(0, $0 - Clock.milliseconds())) } ?? -1
        var count: Int32
        repeat { count = poll(&descriptors, 5, timeout) } while count < 0 && errno == EINTR
        if count <= 0 || Int32(descriptors[2].revents) & Int32(POLLERR | POLLNVAL) != 0 { return nil }
        return Ready(descriptors: descriptors)
    }

    /// Whether bytes came. At the end, and where the other side is gone, the flow is closed.
    private func receive(_ descriptor: Int32, into flow: inout Flow) -> Bool {
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, filled in
            repeat { count = read(descriptor, buffer.baseAddress, Self.chunk) } while count < 0 && errno == EINTR
            filled = max(count, 0)
        }
        if count > 0 { flow.bytes = bytes[...] } else if count == 0 || errno != EAGAIN { flow.isOpen = false }
        return count > 0
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
