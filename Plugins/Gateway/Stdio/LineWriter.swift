import KnapJSON
import Synchronization

/// Writes messages as whole lines to one stream, one writer at a time.
///
/// Whoever writes waits until its line has gone out, so a client that does not read holds its own requests up and
/// nothing piles up here. Lines that wait while others are being sent go out together.
actor LineWriter {
    private struct Batch {
        var bytes: [UInt8] = []
        var writers: [CheckedContinuation<Void, Never>] = []
    }

    /// A batch that has so much gets no more lines, and a longer line goes in parts of it: no larger item is what the
    /// host's rings like.
    private static let fullBatch = 64 * 1024

    private let send: @Sendable ([UInt8]) async throws -> Void
    private var queue: [Batch] = []
    private var isSending = false
    private var isBroken = false
    private nonisolated let held = Atomic<Int>(0)

    init(send: @escaping @Sendable ([UInt8]) async throws -> Void) { self.send = send }

    /// How many bytes were written and have not gone out.
    nonisolated var unread: Int { held.load(ordering: .relaxed) }

    /// Returns when the line has been sent, or can no longer be: the other end is gone.
    func write(_ message: JSON) async {
        guard !isBroken else { return }
        var batch = queue.last.map(\.bytes.count) ?? Self.fullBatch < Self.fullBatch ? queue.removeLast() : Batch()
        let before = batch.bytes.count
        message.write(into: &batch.bytes)
        batch.bytes.append(UInt8(ascii: "\n"))
        held.add(batch.bytes.count - before, ordering: .relaxed)
        if !isSending {
            isSending = true
            // In a task that nobody cancels: it sends the lines of others too.
            Task { await sendAll() }
        }
        await withCheckedContinuation { continuation in
            batch.writers.append(continuation)
            queue.append(batch)
        }
    }

    private func sendAll() async {
        while !queue.isEmpty {
            let batch = queue.removeFirst()
            if !isBroken { await send(batch) }
            held.subtract(batch.bytes.count, ordering: .relaxed)
            for writer in batch.writers { writer.resume() }
        }
        isSending = false
    }

    private func send(_ batch: Batch) async {
        do {
            guard batch.bytes.count > Self.fullBatch else { return try await send(batch.bytes) }
            for start in stride(from: 0, to: batch.bytes.count, by: Self.fullBatch) {
                try await send(Array(batch.bytes[start..<min(batch.bytes.count, start + Self.fullBatch)]))
            }
        } catch {
            isBroken = true
        }
    }
}
