import CKnap
import Glibc

/// Splits what a socket delivers into lines, and never holds more than the longest line allowed.
struct LineReader {
    /// The longest request: the largest body with what is around it.
    static let maximumLength = Int(KNAP_BODY_LARGEST) + 64 << 10

    enum Progress {
        case line([UInt8])
        /// Nothing more to read at the moment.
        case incomplete
        case ended
        /// A line was longer than that; it is read over, and the next one can follow.
        case tooLong
    }

    private var buffer: [UInt8] = []
    /// Up to here there is no newline.
    private var scanned = 0
    private var isSkipping = false
    private let maximumLength: Int

    init(maximumLength: Int = LineReader.maximumLength) { self.maximumLength = maximumLength }

    /// What was read past the last line, for a connection that turns into raw bytes.
    mutating func takeRest() -> [UInt8] {
        defer { (buffer, scanned) = ([], 0) }
        return buffer
    }

    /// The next line without its newline, reading from `descriptor` as far as needed. A read that would block is
    /// `incomplete`; a signal is not an end.
    mutating func next(from descriptor: Int32) -> Progress {
        while true {
            if let newline = buffer[scanned...].firstIndex(of: 10) {
                let isTooLong = isSkipping || newline > maximumLength
                let line = isTooLong ? [] : Array(buffer[..<newline])
                buffer.removeSubrange(...newline)
                (scanned, isSkipping) = (0, false)
                return isTooLong ? .tooLong : .line(line)
            }
            scanned = buffer.count
            if isSkipping || buffer.count > maximumLength { (buffer, scanned, isSkipping) = ([], 0, true) }
            switch readSome(descriptor) {
            case .bytes(let bytes): buffer += bytes
            case .wouldBlock: return .incomplete
            case .ended: return .ended
            }
        }
    }
}

/// What one read of a socket gave.
enum ReadOutcome {
    case bytes([UInt8])
    case wouldBlock
    case ended
}

func readSome(_ descriptor: Int32, _ room: Int = 64 << 10) -> ReadOutcome {
    var count = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: room) { buffer, filled in
        repeat { count = read(descriptor, buffer.baseAddress, room) } while count < 0 && errno == EINTR
        filled = max(count, 0)
    }
    if count > 0 { return .bytes(bytes) }
    return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? .wouldBlock : .ended
}
