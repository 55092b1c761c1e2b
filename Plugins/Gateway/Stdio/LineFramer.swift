import KnapPlugin

/// Cuts a stream of bytes into lines, wherever its chunks begin and end.
///
/// A line longer than the limit is dropped as it comes, so a client cannot make the server hold more than that.
package struct LineFramer: Sendable {
    package enum Line: Sendable, Equatable {
        case text([UInt8])
        /// Ended, and was longer than the limit.
        case tooLong
    }

    /// As long as a message may be: the largest body that a call has, with what is around it.
    package static let defaultLimit = largestBody + 64 * 1024

    private let limit: Int
    private var pending: [UInt8] = []
    private var isSkipping = false
    /// How many bytes have come since the last line end.
    private(set) var openBytes = 0

    package init(limit: Int = LineFramer.defaultLimit) { self.limit = limit }

    /// The lines that end in this chunk, without their line ends; blank ones are left out.
    package mutating func push(_ chunk: [UInt8]) -> [Line] {
        var lines: [Line] = []
        var rest = chunk[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            append(rest[..<end])
            openBytes = 0
            if let line = finish() { lines.append(line) }
            rest = rest[(end + 1)...]
        }
        append(rest)
        openBytes += rest.count
        return lines
    }

    /// What stood after the last line end when the stream ended.
    package mutating func finish() -> Line? {
        defer {
            pending.removeAll(keepingCapacity: pending.capacity <= 64 * 1024)
            isSkipping = false
        }
        if isSkipping { return .tooLong }
        if pending.last == UInt8(ascii: "\r") { pending.removeLast() }
        let isBlank = pending.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        return isBlank ? nil : .text(pending)
    }

    private mutating func append(_ bytes: ArraySlice<UInt8>) {
        guard !isSkipping else { return }
        guard pending.count + bytes.count <= limit else {
            isSkipping = true
            pending = []
            return
        }
        pending.append(contentsOf: bytes)
    }
}
