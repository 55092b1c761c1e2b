import KnapJSON
import Synchronization

/// The sessions that their clients ended, over restarts too: an id is signed, and by that alone would be good again.
package final class EndedSessions: Sendable {
    private struct State {
        /// The signatures of their ids, the latest last.
        var signatures: [String] = []
        var known: Set<String> = []
        var isWritten = true
        var writing: Task<Void, Never>?

        mutating func add(_ more: [String]) {
            signatures += more.filter { known.insert($0).inserted }
            let excess = signatures.count - EndedSessions.maximum
            guard excess > 0 else { return }
            known.subtract(signatures[..<excess])
            signatures.removeFirst(excess)
        }
    }

    /// Past it the oldest is forgotten.
    static let maximum = 10_000

    private let path: String?
    private let state = Mutex(State())

    /// - Parameter path: Of the file that keeps them; nil for memory alone.
    init(path: String?) { self.path = path }

    func contains(_ id: String) -> Bool { state.withLock { $0.known.contains(Self.signature(of: id)) } }

    /// Returns at once; the file is written in the background.
    func insert(_ id: String) {
        state.withLock { state in
            state.add([Self.signature(of: id)])
            state.isWritten = false
            guard let path, state.writing == nil else { return }
            state.writing = Task { await write(to: path) }
        }
    }

    /// Reads what was kept before.
    package func load() async {
        guard let path, let bytes = await StateFile.onThread({ StateFile.readAll(path) }) ?? nil,
            let kept = try? JSON.parse(bytes).arrayValue
        else { return }
        state.withLock { $0.add(kept.compactMap(\.stringValue)) }
    }

    /// Returns when the file has all of them.
    package func written() async { await state.withLock { $0.writing }?.value }

    /// What comes while it writes is written next.
    private func write(to path: String) async {
        while let signatures = takeUnwritten() {
            await StateFile.onThread {
                // Where it cannot be written, as on a full disk, they are over until the next start.
                try? StateFile.write(JSON.array(signatures.map(JSON.string)).serialized(), to: path, mode: 0o600)
            }
        }
    }

    private func takeUnwritten() -> [String]? {
        state.withLock { state in
            guard !state.isWritten else {
                state.writing = nil
                return nil
            }
            state.isWritten = true
            return state.signatures
        }
    }

    /// What an id ends with, which no other has.
    private static func signature(of id: String) -> String { String(id.split(separator: ".").last ?? "") }
}
