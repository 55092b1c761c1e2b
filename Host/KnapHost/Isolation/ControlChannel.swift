import CLinux
import Glibc
import KnapPlugin
import Synchronization

/// The host's end of a worker's control socket: frames as Host/Worker/worker.h has them.
///
/// One thread receives; any may send.
final class ControlChannel: Sendable {
    enum Operation: UInt16 {
        case start = 1, loaded, failed, log, bind, describe, registryRead, registryWatch, registryUnwatch
        case keep, take, drop, connect, connected, held
    }

    struct Frame {
        var operation: Operation
        var body: ArraySlice<UInt8>
        /// -1: none came with it.
        var descriptor: Int32
    }

    enum Received {
        case none
        case frame(Frame)
        case nonsense
    }

    /// Larger frames are nonsense: the largest a worker has reason to send is a long log record.
    private static let largest = 1 << 22
    private static let headerSize = 8

    let descriptor: Int32
    private struct Incoming {
        var bytes: [UInt8] = []
        var descriptor: Int32 = -1
    }
    private let incoming = Mutex(Incoming())
    private let sending = Mutex(())

    init(descriptor: Int32) { self.descriptor = descriptor }

    /// The next whole frame, if it is there; does not wait.
    func receive() -> Received {
        incoming.withLock { incoming in
            while true {
                if let received = Self.frame(of: &incoming) { return received }
                var chunk = [UInt8](repeating: 0, count: 1 << 16)
                var passed: Int32 = -1
                let count = knap_socket_receive(descriptor, &chunk, UInt64(chunk.count), &passed)
                if passed >= 0 {
                    if incoming.descriptor >= 0 { close(incoming.descriptor) }
                    incoming.descriptor = passed
                }
                guard count > 0 else { return .none }  // nothing more now, or the end, which the pidfd tells
                incoming.bytes += chunk[..<Int(count)]
            }
        }
    }

    private static func frame(of incoming: inout Incoming) -> Received? {
        guard incoming.bytes.count >= headerSize else { return nil }
        var header = FrameReader(incoming.bytes[..<headerSize])
        guard let size = header.u32(), let number = header.u16(), let operation = Operation(rawValue: number),
            size <= largest
        else { return .nonsense }
        let whole = headerSize + Int(size)
        guard incoming.bytes.count >= whole else { return nil }
        let frame = Frame(
            operation: operation, body: incoming.bytes[headerSize..<whole], descriptor: incoming.descriptor)
        incoming.bytes.removeFirst(whole)
        incoming.descriptor = -1
        return .frame(frame)
    }

    /// False when the worker does not take it.
    func send(_ operation: Operation, status: Int32, _ body: [UInt8], descriptor passed: Int32 = -1) -> Bool {
        var frame = FrameWriter()
        frame.put(UInt32(body.count))
        frame.put(operation.rawValue)
        frame.put(UInt16(truncatingIfNeeded: status))
        frame.append(body)
        return sending.withLock { _ in
            var sent = 0
            return frame.bytes.withUnsafeBytes { bytes in
                while sent < bytes.count {
                    let count = knap_socket_send(
                        descriptor, bytes.baseAddress?.advanced(by: sent), UInt64(bytes.count - sent), sent == 0 ? passed : -1)
                    guard count > 0 else { return false }
                    sent += Int(count)
                }
                return true
            }
        }
    }
}

/// Writes the body of a frame.
struct FrameWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    mutating func put(_ text: String) { put(Array(text.utf8)) }
    mutating func put(_ data: [UInt8]) {
        put(UInt32(data.count))
        bytes += data
    }
    mutating func append(_ data: [UInt8]) { bytes += data }
}

/// Reads the body of a frame; nil where it is too short.
struct FrameReader {
    private var rest: ArraySlice<UInt8>

    init(_ body: ArraySlice<UInt8>) { rest = body }

    mutating func u16() -> UInt16? { integer() }
    mutating func u32() -> UInt32? { integer() }
    mutating func u64() -> UInt64? { integer() }

    mutating func text() -> String? {
        guard let size = u32(), size <= rest.count else { return nil }
        defer { rest = rest.dropFirst(Int(size)) }
        return String(decoding: rest.prefix(Int(size)), as: UTF8.self)
    }

    private mutating func integer<T: FixedWidthInteger>() -> T? {
        let size = MemoryLayout<T>.size
        guard rest.count >= size else { return nil }
        var value: T = 0
        for (place, byte) in rest.prefix(size).enumerated() { value |= T(truncatingIfNeeded: byte) << T(8 * place) }
        rest = rest.dropFirst(size)
        return value
    }
}
