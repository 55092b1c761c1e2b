import Glibc
import KnapJSON

/// The client's side of the control socket: blocking, for commands and relays.
package struct ControlClient: ~Copyable {
    private let socket: Int32
    private var reader = LineReader(maximumLength: .max)
    private var isOwner = true

    /// Connects at once; fails with `notRunning` where nobody listens.
    package init(path: String) throws(ControlError) { socket = try UnixSocket.connect(to: path) }

    deinit { if isOwner { close(socket) } }

    /// Makes one call and waits for its answer.
    package mutating func call(
        _ method: String, input: JSON = .object([:]), deadlineMS: Int? = nil, onItem: (ControlItem) -> Void = { _ in }
    ) throws(ControlError) -> ControlReply {
        try write(ControlRequest.call(method: method, input: input, deadlineMS: deadlineMS).line)
        while true {
            switch try nextAnswer() {
            case .item(let item): onItem(item)
            case .reply(let reply): return reply
            case .attached: throw .violation("attached without being asked")
            }
        }
    }

    /// How an attachment was answered.
    package enum Attachment {
        /// The socket carries raw bytes from here on and is the caller's to close. `early` came with the answer.
        case attached(socket: Int32, early: [UInt8])
        case refused(ControlFailure)
    }

    /// Turns the connection into a pipe to a call.
    ///
    /// - Parameter end: A descriptor; once it is readable nobody wants the attachment any more. -1 for none.
    package consuming func attach(
        _ method: String, input: JSON = .object([:]), withinMS: Int, unless end: Int32 = -1
    ) throws(ControlError) -> Attachment {
        try write(ControlRequest.attach(method: method, input: input).line)
        switch try nextAnswer(withinMS: withinMS, unless: end) {
        case .attached:
            isOwner = false
            return .attached(socket: socket, early: reader.takeRest())
        case .reply(.failure(let failure)): return .refused(failure)
        case .reply(.result), .item: throw .violation("an answer to a call instead of an attachment")
        }
    }

    private func write(_ line: [UInt8]) throws(ControlError) {
        var rest = line[...]
        while !rest.isEmpty {
            let count = UnixSocket.send(rest, on: socket)
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                // A host that refuses says why before it closes: the answer is still to be read.
                return
            }
        }
    }

    private mutating func nextAnswer(withinMS: Int? = nil, unless end: Int32 = -1) throws(ControlError) -> ControlAnswer {
        if let withinMS {
            var ready = [
                pollfd(fd: socket, events: Int16(POLLIN), revents: 0), pollfd(fd: end, events: Int16(POLLIN), revents: 0),
            ]
            while true {
                let count = poll(&ready, 2, Int32(withinMS))
                if count > 0 { break }
                guard count < 0, errno == EINTR else { throw .timedOut(after: withinMS) }
            }
            if ready[1].revents != 0 { throw .unwanted }
        }
        switch reader.next(from: socket) {
        case .line(let line): return try ControlAnswer(line: line)
        case .ended, .incomplete: throw .closed
        case .tooLong: throw .violation("a line without an end")
        }
    }
}
