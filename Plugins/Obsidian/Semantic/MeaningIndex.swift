import CVaultShims
import GRDB
import Glibc
import Synchronization

/// The vectors of one vault's notes, kept in agreement with its index by a thread that works when words are done.
///
/// What changed is told by ``changed(_:)``; nothing else is looked at again. A question takes in what few changes there
/// are itself, so a note is found by its meaning as soon as the write that made it returns.
final class MeaningIndex: Sendable {
    enum Condition: String, Sendable, Codable {
        /// There is no model.
        case absent
        case indexing, ready
        /// Something is in its way.
        case failed
    }

    struct Report: Sendable, Equatable {
        var condition: Condition
        /// Notes whose vectors are up to date, and all.
        var done: Int
        var total: Int
        var problem: String?
    }

    private struct State {
        /// Notes that may have changed, each with the number of its last change.
        var pending: [String: Int] = [:]
        var changes = 0
        /// Whether the index is complete, so that it can be compared with.
        var wordsAreComplete = false
        /// Whether everything that is not pending was compared with the index.
        var isCompared = false
        var total = 0
        var problem: String?
        /// Nil before the first question: without one it costs no memory.
        var table: VectorTable?
    }

    private let index: NoteIndex
    private let models: ModelSource
    private let storePath: String
    private let state = Mutex(State())
    /// Nil until it is needed. Held while notes are taken in, so that only one thread does.
    private let store = Mutex<VectorStore?>(nil)
    private let thread: BackgroundThread

    private static let batch = 32
    /// So many changes a question takes in before it is answered; with more it says that it is incomplete.
    private static let mostAtOnce = 64

    init(index: NoteIndex, models: ModelSource, storePath: String) throws(VaultError) {
        self.index = index
        self.models = models
        self.storePath = storePath
        thread = try BackgroundThread("search by meaning cannot be prepared")
    }

    var report: Report {
        let isThere = models.isThere
        return state.withLock { state in
            let isReady = state.isCompared && state.pending.isEmpty
            let condition: Condition =
                !isThere ? .absent : state.problem != nil ? .failed : isReady ? .ready : .indexing
            let done = state.isCompared ? max(0, state.total - state.pending.count) : 0
            return Report(condition: condition, done: done, total: max(state.total, done), problem: state.problem)
        }
    }

    // MARK: What happened to the notes

    /// The index has taken or forgotten these.
    func changed(_ paths: [String]) {
        let isAwaited = state.withLock { state in
            state.changes += 1
            for path in paths where VaultPath(trusted: path).isNote { state.pending[path] = state.changes }
            return state.wordsAreComplete
        }
        if isAwaited { thread.wake() }
    }

    /// The index has all words: now there is time for this.
    func wordsAreComplete() {
        state.withLock { $0.wordsAreComplete = true }
        thread.wake()
    }

    // MARK: Questions

    /// The notes whose parts mean most nearly what a text does.
    ///
    /// - Parameter isOfFew: It is asked of what a filter leaves, in which the least near may be wanted.
    func nearest(
        to text: String, folder: String?, among allowed: Set<String>?, isOfFew: Bool, most: Int
    ) throws -> [VectorTable.Hit] {
        let model = try models.get()
        guard let vector = model.vector(of: text) else { return [] }
        catchUp()
        if state.withLock({ $0.table == nil }) {
            try store.withLock { store in
                var table = VectorTable()
                try open(&store).notes { table.put($0) }
                state.withLock { $0.table = $0.table ?? table }
            }
        }
        // What points the other way has nothing to do with a question.
        let least: Float = isOfFew ? -1 : 0
        return state.withLock { state in
            state.table?.nearest(to: QuantisedVector(vector), folder: folder, among: allowed, least: least, most: most)
                ?? []
        }
    }

    /// Takes in what is pending, where that is little.
    private func catchUp() {
        let isLittle = state.withLock { $0.isCompared && $0.pending.count <= Self.mostAtOnce }
        // The thread may have been without a model, or without room on the disk.
        if isLittle { takeIn() } else { thread.wake() }
    }

    /// The lines of a text that are nearest to a question, at most so many, in order.
    func lines(_ lines: Range<Int>, of layout: TextLines, nearestTo question: String, most: Int) throws -> [Int] {
        let model = try models.get()
        guard let vector = model.vector(of: question) else { return [] }
        let known = lines.clamped(to: 0..<layout.lines.count).compactMap { line -> (line: Int, similarity: Float)? in
            let text = layout.text(line: line)
            guard text.contains(where: { $0.isLetter || $0.isNumber }), let other = model.vector(of: text) else {
                return nil
            }
            return (line, zip(vector, other).reduce(0) { $0 + $1.0 * $1.1 })
        }
        return known.sorted { ($1.similarity, $0.line) < ($0.similarity, $1.line) }.prefix(most).map(\.line).sorted()
    }

    // MARK: The thread

    func start() {
        thread.start { [self] in
            while thread.waitUntilWoken(), !thread.shouldStop {
                if state.withLock({ $0.wordsAreComplete }), models.isThere { takeIn() }
            }
        }
    }

    /// Returns when the thread has ended: nothing touches the store any more.
    func stop() { thread.stop() }

    /// Takes in all that is pending, batch by batch; what is in its way is kept as the problem, and what is left pending.
    func takeIn() {
        do {
            try store.withLock { store in
                let store = try open(&store)
                if !state.withLock({ $0.isCompared }) { try compare(with: store) }
            }
            while !thread.shouldStop, try store.withLock({ try takeBatch(open(&$0)) }) {}
            state.withLock { $0.problem = nil }
        } catch {
            let reason = (error as? VaultError)?.message ?? "what notes mean could not be kept: \(Self.reason(error))"
            state.withLock { $0.problem = reason }
        }
    }

    private static func reason(_ error: any Error) -> String { (error as? DatabaseError)?.message ?? "\(error)" }

    private func open(_ store: inout VectorStore?) throws -> VectorStore {
        if let store { return store }
        let opened = try VectorStore(path: storePath)
        if let identity = models.identity { try opened.use(model: identity) }
        store = opened
        return opened
    }

    /// Makes pending what the store has of another version than the index, or only one of them has.
    private func compare(with store: VectorStore) throws {
        let current = try index.versions()
        let known = try store.versions()
        state.withLock { state in
            state.changes += 1
            for (path, version) in current where known[path] != version { state.pending[path] = state.changes }
            for path in known.keys where current[path] == nil { state.pending[path] = state.changes }
            state.total = current.count
            state.isCompared = true
        }
    }

    /// False when nothing was pending.
    private func takeBatch(_ store: VectorStore) throws -> Bool {
        let batch = state.withLock { Array($0.pending.prefix(Self.batch)) }
        guard !batch.isEmpty else { return false }
        let model = try models.get()
        var notes: [VectorStore.Note] = []
        var gone: [String] = []
        for (path, _) in batch {
            guard let (version, text) = try index.content(of: path) else {
                gone.append(path)
                continue
            }
            notes.append(Self.note(path, version, text, model))
        }
        try store.change(put: notes, remove: gone)
        let total = try index.count()
        state.withLock { state in
            for path in gone { state.table?.remove(path) }
            for note in notes { state.table?.put(note) }
            // What changed meanwhile stays.
            for (path, change) in batch where state.pending[path] == change { state.pending[path] = nil }
            state.total = total
        }
        return true
    }

    private static func note(_ path: String, _ version: String, _ text: String, _ model: MeaningModel)
        -> VectorStore.Note
    {
        let chunks = NoteChunk.chunks(of: text, title: VaultPath(trusted: path).title).compactMap { chunk in
            model.vector(of: chunk.text).map {
                VectorStore.Chunk(lines: chunk.lines, heading: chunk.headings.last ?? "", vector: QuantisedVector($0))
            }
        }
        return VectorStore.Note(path: path, version: version, chunks: chunks)
    }
}
