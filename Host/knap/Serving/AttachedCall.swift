import KnapControl
import KnapJSON
import KnapPlugin
import Synchronization

/// Raw bytes as the data items of a call, which may move to another generation of the plugin that serves it.
///
/// Such a call ends with the content type `application/vnd.knap.moved+json`; its body says how many bytes were dealt
/// with, and is the input of the call that goes on. What was sent after those bytes is sent again, so nothing is lost and
/// nothing comes twice.
actor AttachedCall: ByteDuplex {
    private static let moved = "application/vnd.knap.moved+json"
    /// More than a call takes before it reads (its window).
    private static let keptChunks = 64
    /// A line is dealt with as a whole, so what came since the last one's end is kept too, up to the longest that is taken.
    private static let keptBytes = largestBody + 1 << 20

    private var call: OutgoingCall
    private let reopen: @Sendable (JSON) async throws(PluginError) -> OutgoingCall
    /// For `cancel`, which waits for nobody.
    private nonisolated let current: Mutex<OutgoingCall>
    private nonisolated let isCancelled = Atomic<Bool>(false)

    /// What the present call may not have dealt with, and where in its input it begins.
    private var kept: [(start: Int, bytes: [UInt8], endsLine: Bool)] = []
    private var sent = 0
    private var isMoving = false
    private var hasEnded = false
    private var isFinished = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ call: OutgoingCall, reopen: @escaping @Sendable (JSON) async throws(PluginError) -> OutgoingCall) {
        self.call = call
        self.reopen = reopen
        current = Mutex(call)
    }

    func receive() async throws -> [UInt8]? {
        while true {
            // An iterator keeps nothing of its own.
            var iterator = call.items.makeAsyncIterator()
            while let item = try await iterator.next() {
                if item.kind == .data { return item.body }
            }
            let reply = try await call.result()
            guard reply.contentType == Self.moved, let state = try? JSON.parse(reply.body) else {
                end()
                return nil
            }
            do { try await move(state) } catch {
                end()
                throw error
            }
        }
    }

    private func move(_ state: JSON) async throws {
        isMoving = true
        let consumed = state["consumed"]?.intValue ?? 0
        let next = try await reopen(state)
        current.withLock { $0 = next }
        if isCancelled.load(ordering: .acquiring) { next.cancel() }
        call = next
        // From here on places count from what the old call dealt with.
        guard (kept.first?.start ?? sent) <= consumed else {
            next.cancel()
            throw PluginError(code: .dataLoss, message: "the client's input is longer than what is kept of it")
        }
        var rest: [(start: Int, bytes: [UInt8], endsLine: Bool)] = []
        for (start, bytes, endsLine) in kept where start + bytes.count > consumed {
            let skipped = max(0, consumed - start)
            rest.append((max(0, start - consumed), Array(bytes[skipped...]), endsLine))
        }
        kept = rest
        sent -= consumed
        var number = 0
        // What comes meanwhile is appended, and sent in its turn.
        while number < kept.count {
            try await next.send(kept[number].bytes)
            number += 1
        }
        trim()
        if isFinished { next.halfClose() }
        isMoving = false
        wake()
    }

    func send(_ bytes: [UInt8]) async throws {
        kept.append((sent, bytes, bytes.contains(UInt8(ascii: "\n"))))
        sent += bytes.count
        if isMoving { return await moved() }
        let call = call
        do {
            try await call.send(bytes)
            if call === self.call { trim() }
        } catch {
            // It is over: it moves, and this was kept for then, or it has ended.
            if call === self.call, !hasEnded { await moved() }
            if hasEnded { throw error }
        }
    }

    /// Returns when the call has moved, or has ended.
    private func moved() async {
        await withCheckedContinuation { waiting.append($0) }
    }

    private func trim() {
        let taken = kept.count - Self.keptChunks
        guard taken > 0 else { return }
        if let line = kept[..<taken].lastIndex(where: \.endsLine) { kept.removeFirst(line) }
        while kept.count > Self.keptChunks, let first = kept.first, sent - first.start > Self.keptBytes { kept.removeFirst() }
    }

    private func end() {
        hasEnded = true
        wake()
    }

    private func wake() {
        for waiter in waiting { waiter.resume() }
        waiting = []
    }

    func finishSending() {
        isFinished = true
        if !isMoving { call.halfClose() }
    }

    nonisolated func cancel() {
        isCancelled.store(true, ordering: .releasing)
        current.withLock { $0 }.cancel()
    }
}
