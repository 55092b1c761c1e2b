import GRDB
import Glibc
import KnapPlugin
import Synchronization

/// Runs the processors on the notes of one vault, behind the index and beside all else.
///
/// A note is processed when its content changes, or when there is a processor whose result its content lacks. Whatever a
/// processor does, the index has the note already, and the other processors and notes go on.
actor NotePipeline {
    /// Calls to contributed processors.
    struct Caller: Sendable {
        var call: @Sendable (_ method: String, _ input: JSON, _ deadline: Duration) async throws(PluginError) -> JSON
        var sleep: @Sendable (Duration) async throws -> Void
    }

    /// Notes that are processed at once.
    private static let concurrency = 4
    /// After so many calls that a processor did not survive, its note is the reason.
    private static let attempts = 3
    private static let shortestPause = Duration.milliseconds(200), longestPause = Duration.seconds(10)
    /// A result has at most so many bytes.
    static let largestResult = 256 * 1024
    /// After so many processed notes what belongs to none is dropped.
    private static let collected = 1000

    private let queue = ProcessingQueue()
    nonisolated var unownedExecutor: UnownedSerialExecutor { queue.asUnownedSerialExecutor() }

    private let vault: Vault
    /// Whether notes of a path are processed; those that not everybody may see are not.
    nonisolated func covers(_ path: VaultPath) -> Bool { vault.files.access.sees(path.text) }
    let store: ProcessingStore
    private let caller: Caller
    private let wakeups: AsyncStream<Void>
    private let wakeup: AsyncStream<Void>.Continuation
    private let changed = Mutex<Set<String>>([])
    private let planned = Mutex(ProcessorPlan(NoteProcessor.builtIn))

    private var isReconciled = false
    private var plan = ProcessorPlan([])
    private var waiting = Backlog()
    /// Notes for which a processor was not to be had.
    private var suspects: Set<String> = []
    /// How many calls a processor did not survive.
    private var strikes: [Strike: Int] = [:]
    private var pause = NotePipeline.shortestPause
    private var sinceCollection = 0
    private let counts = Mutex(0)
    private let trouble = Mutex<String?>(nil)

    private struct Strike: Hashable {
        var path: String
        var version: String
        var processor: String
        var key: String
    }

    init(vault: Vault, store: ProcessingStore, caller: Caller) {
        self.vault = vault
        self.store = store
        self.caller = caller
        (wakeups, wakeup) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        vault.changes.follow { [weak self] paths in self?.took(paths) }
    }

    private nonisolated func took(_ paths: Set<String>) {
        changed.withLock { $0.formUnion(paths) }
        wakeup.yield()
    }

    /// What runs now, and in which order.
    nonisolated var current: ProcessorPlan { planned.withLock { $0 } }

    /// How many notes wait.
    nonisolated var backlog: Int { counts.withLock { $0 } }

    /// How many notes do not wait.
    nonisolated var processed: Int { max(0, ((try? store.count()) ?? 0) - backlog) }

    /// Why results cannot be kept; nil where they can.
    nonisolated var problem: String? { trouble.withLock { $0 } }

    nonisolated func use(_ processors: [NoteProcessor]) {
        planned.withLock { $0 = ProcessorPlan(NoteProcessor.builtIn + processors) }
        replan.store(true, ordering: .releasing)
        wakeup.yield()
    }

    /// Has failures tried again: of one note or all, of one processor or all.
    ///
    /// - Returns: How many there were.
    func retry(_ path: String?, _ processor: String?) throws -> Int {
        let count = try store.failures(of: path, by: processor).count
        strikes = strikes.filter { path != nil && $0.key.path != path || processor != nil && $0.key.processor != processor }
        try store.forgetFailures(of: path, by: processor)
        replan.store(true, ordering: .releasing)
        wakeup.yield()
        return count
    }

    private let replan = Atomic(true)

    /// Processes until the task is cancelled.
    func run() async {
        wakeup.yield()
        for await _ in wakeups {
            do {
                guard try reconciled() else { continue }
                try takeNews()
                await work()
                try tidy()
            } catch {
                // On a full disk, for instance: the next change tries again.
                trouble.withLock { $0 = NoteIndex.reason(error) }
            }
        }
    }

    /// False while the index is not complete: what it has not seen cannot be processed.
    private func reconciled() throws -> Bool {
        if isReconciled { return true }
        guard vault.progress.isComplete else { return false }
        try store.reconcile(vault.index.versions())
        isReconciled = true
        return true
    }

    private func takeNews() throws {
        let paths = changed.withLock { changed in
            defer { changed = [] }
            return changed
        }
        for path in paths where VaultPath(trusted: path).isNote { waiting.prepend(path) }
        guard replan.exchange(false, ordering: .acquiring) else { return }
        plan = current
        for step in plan.steps {
            for path in try store.lacking(step.name, key: step.key) where !suspects.contains(path) { waiting.append(path) }
        }
    }

    private func work() async {
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            while !Task.isCancelled {
                while running < Self.concurrency, let path = waiting.next() {
                    group.addTask { await self.process(path) }
                    running += 1
                }
                counts.withLock { $0 = waiting.count + running }
                guard running > 0 else { break }
                await group.next()
                running -= 1
                try? takeNews()
            }
        }
        await workOnSuspects()
        counts.withLock { $0 = waiting.count }
    }

    /// One at a time, so that it is known which of them a processor does not survive.
    private func workOnSuspects() async {
        guard !suspects.isEmpty, (try? await caller.sleep(pause)) != nil else { return }
        pause = min(pause * 2, Self.longestPause)
        for path in suspects.sorted() where !Task.isCancelled { await process(path) }
        if suspects.isEmpty { pause = Self.shortestPause } else { wakeup.yield() }
    }

    private func tidy() throws {
        trouble.withLock { $0 = nil }
        guard sinceCollection >= Self.collected else { return }
        sinceCollection = 0
        try store.collect()
    }

    // MARK: - One note

    private func process(_ path: String) async {
        defer { waiting.finish(path) }
        do {
            let place = VaultPath(trusted: path)
            guard let (text, version, _) = try? vault.readText(place), vault.paths.contains(path) else {
                suspects.remove(path)
                return try store.forget(path)
            }
            sinceCollection += 1
            try store.note(path, version)
            try await run(plan, on: Subject(path: path, version: version, text: text))
        } catch {
            trouble.withLock { $0 = NoteIndex.reason(error) }
        }
    }

    private final class Subject {
        let path: String
        let version: String
        let text: String
        private(set) lazy var parsed = NoteParser.parse(text)
        var tags: [String] { parsed.tags.map(\.name) + (parsed.frontMatter?.tags ?? []) }

        init(path: String, version: String, text: String) { (self.path, self.version, self.text) = (path, version, text) }
    }

    private func run(_ plan: ProcessorPlan, on note: Subject) async throws {
        let known = try store.results(of: note.version)
        let failed = try store.failures(of: note.path)
        var results: [String: JSON] = [:]
        var news = ProcessingStore.News()
        var isSuspect = false
        func strike(_ step: ProcessorPlan.Step) -> Strike {
            Strike(path: note.path, version: note.version, processor: step.name, key: step.key)
        }
        for step in plan.steps where step.processor.applies(to: note.path, tags: note.tags) {
            if let result = known[step.name], result.key == step.key, !news.outdated.contains(step.name) {
                results[step.name] = result.value
                continue
            }
            if failed.contains(where: { $0.processor == step.name && $0.key == step.key && $0.version == note.version }) { continue }
            guard step.processor.needs.allSatisfy({ results[$0] != nil }) else { continue }
            do throws(PluginError) {
                let value: JSON
                switch step.processor.work {
                case .builtIn(let work): value = work(note.text, note.parsed)
                case .contributed(let method):
                    // What is known already waits for nobody.
                    do { try store.save(news, of: note.path, note.version) } catch { throw PluginError(.internal, NoteIndex.reason(error)) }
                    news = ProcessingStore.News()
                    value = try await call(method, step, note, results)
                }
                strikes[strike(step)] = nil
                results[step.name] = value
                news.results.append((step.name, .init(key: step.key, value: value)))
                if known[step.name] == nil { news.outdated.formUnion(plan.dependents(of: step.name)) }
            } catch {
                if Task.isCancelled || error.code == .cancelled { return }
                guard let reason = reason(error, strike(step)) else {
                    isSuspect = true
                    continue
                }
                news.failures.append(
                    .init(
                        path: note.path, processor: step.name, version: note.version, key: step.key, reason: reason,
                        time: Double(time(nil))))
            }
        }
        if isSuspect { suspects.insert(note.path) } else { suspects.remove(note.path) }
        try store.save(news, of: note.path, note.version)
    }

    private func call(
        _ method: String, _ step: ProcessorPlan.Step, _ note: Subject, _ results: [String: JSON]
    ) async throws(PluginError) -> JSON {
        var inputs = JSONObject()
        for name in step.inputs { inputs[name] = results[name] }
        let input: JSON = [
            "vault": .string(vault.name), "path": .string(note.path), "version": .string(note.version),
            "text": .string(note.text), "results": .object(inputs),
        ]
        let value = try await caller.call(method, input, step.processor.deadline)
        guard value.objectValue != nil else {
            throw PluginError(.invalidArgument, "\(method) answered something other than a JSON object")
        }
        let size = value.serialized().utf8.count
        guard size <= Self.largestResult else {
            throw PluginError(.invalidArgument, "\(method) answered \(size) bytes, more than the \(Self.largestResult) that are kept")
        }
        return value
    }

    /// Whether the processor was not to be had, or went during the call, rather than failed.
    private static func isOfHost(_ error: PluginError) -> Bool {
        switch error.code {
        case .unavailable: true
        case .resourceExhausted: error.details?["retry"] == true
        case .unknown: error.details?["may_have_run"] != nil
        default: false
        }
    }

    /// What to write down about a failure; nil where it is to be tried again.
    private func reason(_ error: PluginError, _ strike: Strike) -> String? {
        guard Self.isOfHost(error) else { return error.description }
        // What was turned away before it ran says nothing about the note.
        guard error.details?["may_have_run"] != false else { return nil }
        let count = strikes[strike, default: 0] + 1
        strikes[strike] = count < Self.attempts ? count : nil
        return count < Self.attempts ? nil : "\(error.description) (in \(count) attempts)"
    }
}

/// Notes that wait to be processed, each once.
private struct Backlog {
    private var first: [String] = []
    private var last: [String] = []
    private var place = 0
    private var waiting: Set<String> = []
    private var running: Set<String> = []
    /// Changed while they are processed.
    private var again: Set<String> = []

    var count: Int { waiting.count + again.count }

    /// What somebody has just changed comes before what was found to lack something.
    mutating func prepend(_ path: String) {
        if running.contains(path) { again.insert(path) } else if waiting.insert(path).inserted { first.append(path) }
    }

    mutating func append(_ path: String) {
        if !running.contains(path), waiting.insert(path).inserted { last.append(path) }
    }

    mutating func next() -> String? {
        let path: String
        if let changed = first.popLast() {
            path = changed
        } else if place < last.count {
            path = last[place]
            place += 1
        } else {
            (last, place) = ([], 0)
            return nil
        }
        waiting.remove(path)
        running.insert(path)
        return path
    }

    mutating func finish(_ path: String) {
        running.remove(path)
        if again.remove(path) != nil { prepend(path) }
    }
}
