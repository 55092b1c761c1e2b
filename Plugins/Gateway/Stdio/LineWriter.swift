import KnapJSON

/// Writes messages as whole lines to one stream, one writer at a time.
///
/// Whoever writes waits until its line has gone out, so a client that does not read holds its own requests up and
/// nothing piles up here. Lines that wait while another is being sent go out together.
actor LineWriter {
    private let send: @Sendable ([UInt8]) async throws -> Void
    private var queue: [UInt8] = []
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var isSending = false
    private var isBroken = false

    init(send: @escaping @Sendable ([UInt8]) async throws -> Void) { self.send = send }

    /// Returns when the line has been sent, or can no longer be: the other end is gone.
    func write(_ message: JSON) async {
        guard !isBroken else { return }
        message.write(into: &queue)
        queue.append(UInt8(ascii: "\n"))
        guard !isSending else {
            await withCheckedContinuation { waiting.append($0) }
            return
        }
        isSending = true
        while !queue.isEmpty, !isBroken { await flush() }
        isSending = false
    }

    /// One item holds no more than so much, and a line may be longer than any item.
    private static let largestPiece = 1 << 20

    private func sendInPieces(_ bytes: [UInt8]) async throws {
        if bytes.count <= Self.largestPiece { return try await send(bytes) }
        for start in stride(from: 0, to: bytes.count, by: Self.largestPiece) {
            try await send(Array(bytes[start..<min(bytes.count, start + Self.largestPiece)]))
        }
    }

    private func flush() async {
        let bytes = queue
        let writers = waiting
        queue = []
        waiting = []
        do {
            try await sendInPieces(bytes)
        } catch {
            isBroken = true
        }
        for writer in writers { writer.resume() }
        guard isBroken else { return }
        for writer in waiting { writer.resume() }
        waiting = []
        queue = []
    }
}
