import Glibc
import KnapPlugin
import Synchronization

/// One open vault: its files, its index, and the thread that keeps the two in agreement.
///
/// Reads may run side by side. What changes the vault runs one at a time, and has changed the index before it is
/// answered: a note can be found as soon as the write that made it returns.
final class Vault: Sendable {
    struct Progress: Sendable, Equatable {
        var done: Int
        var total: Int
        var isComplete: Bool
    }

    private struct State {
        var resolver = LinkResolver(paths: [])
        var paths: Set<String> = []
        var progress = Progress(done: 0, total: 0, isComplete: false)
        /// Why the index has not taken what was changed.
        var problem: String?
        /// Why the journal has not taken what was changed last.
        var journalProblem: String?
        /// What it is to be told when it can be.
        var owed: [Settlement] = []
    }

    /// What tools call it; no two open vaults have the same.
    let name: String
    let files: VaultFiles
    let index: NoteIndex
    let journal: ChangeJournal
    private let state = Mutex(State())
    private let changing = Mutex(())

    init(root: String, name: String? = nil, indexPath: String, journalPath: String) throws {
        files = try VaultFiles(root: root)
        self.name = name ?? VaultNames.unique([files.root])[0]
        do {
            index = try NoteIndex(path: indexPath)
        } catch {
            throw VaultError(.failedPrecondition, "the index '\(indexPath)' cannot be opened or made: \(error)")
        }
        do {
            journal = try ChangeJournal(path: journalPath)
        } catch {
            throw VaultError(.failedPrecondition, "the journal '\(journalPath)' cannot be opened or made: \(error)")
        }
        try takeBackUnfinished()
    }

    var progress: Progress { state.withLock { $0.progress } }

    /// What whoever changed the vault should know: the files are as they were told to be, but something lags behind them.
    var warning: String? {
        let (index, journal) = state.withLock { ($0.problem, $0.journalProblem) }
        let warnings = [
            index.map { "search does not know it yet: \($0); it is indexed when that is mended" },
            journal.map { "it cannot be undone, because the journal did not take it: \($0)" },
        ].compactMap(\.self)
        return warnings.isEmpty ? nil : "this is done and on disk, but " + warnings.joined(separator: "; and ")
    }

    func unjournaled(_ error: any Error) { state.withLock { $0.journalProblem = "\(error)" } }
    private func journaled() { state.withLock { $0.journalProblem = nil } }

    /// Why the index lags behind the files; nil when it does not.
    var indexProblem: String? { state.withLock { $0.problem } }

    /// Every visible file, notes and others.
    var paths: Set<String> { state.withLock { $0.paths } }

    func resolve(_ target: String, from source: String) -> String? {
        state.withLock { $0.resolver.resolve(target, from: source) }
    }

    var resolver: LinkResolver { state.withLock { $0.resolver } }

    /// Runs one change of the vault after the other.
    func change<T>(_ body: () throws -> T) rethrows -> T { try changing.withLock { _ in try body() } }

    // MARK: Finding notes

    /// The note that an argument means: as written, with `.md`, in any case, or as a link would find it.
    func find(_ text: String, argument: String = "path") throws(VaultError) -> VaultPath {
        let path = try VaultPath(text, argument: argument)
        for candidate in [path, path.asNote] where files.stamp(candidate) != nil { return candidate }
        if let found = resolve(path.text, from: "") { return VaultPath(trusted: found) }
        let near = nearest(to: path.asNote.text, among: paths.filter { $0.lowercased().hasSuffix(".md") })
        let hint = near.map { "; did you mean '\($0)'?" } ?? "; list_notes shows what is there"
        throw VaultError(.notFound, "there is no note '\(text)' in the vault\(hint)", details: near.map { ["nearest": .string($0)] })
    }

    func readText(_ path: VaultPath) throws(VaultError) -> (text: String, version: String, stamp: VaultFiles.Stamp) {
        let (bytes, stamp) = try files.read(path)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw VaultError(.failedPrecondition, "'\(path)' is not UTF-8 text")
        }
        return (text, ContentVersion.of(bytes), stamp)
    }

    // MARK: Changing notes; inside `change`

    /// A change that was made.
    struct Done: Sendable {
        /// Its number in the journal; nil where that could not take it.
        var id: Int64?
        var files: [VaultFiles.Changed]
    }

    /// Makes a change of the vault's files, all of it or nothing, and has the index know it.
    ///
    /// - Parameter undone: The change of the past that this one undoes.
    @discardableResult
    func apply(_ operation: String, _ changes: [FileChange], undoing undone: Int64? = nil) throws -> Done {
        var id: Int64?
        do {
            id = try journal.prepare(operation, changes, undoing: undone, now: Self.now)
        } catch {
            // The vault goes on without a history rather than not at all; several files would not be all or none then.
            guard changes.count == 1 else {
                throw VaultError(
                    .failedPrecondition, "the change was not made, because it could not be noted in the journal first: \(error)")
            }
            unjournaled(error)
        }
        let applied: VaultFiles.Applied
        do throws(VaultFiles.Failure) {
            applied = try files.apply(changes, id: id.map(String.init) ?? "\(getpid())-\(UInt64.random(in: 0 ... .max))")
        } catch {
            // What could not be taken back stays in the journal for the next start.
            if let id, error.isTakenBack { settle(.forget(id)) }
            guard error.isTakenBack else {
                throw VaultError(
                    .internal, "\(error.error.message); not all of it could be taken back, which is tried again at the next start")
            }
            throw error.error
        }
        let trashed = applied.files.enumerated().compactMap { place, file in file.trashed.map { (place, $0) } }
        if let id { settle(.finish(id, Dictionary(uniqueKeysWithValues: trashed))) }
        indexing { try take(changes, applied.files) }
        for write in files.lateWrites(to: applied.displaced) { rescue(write.path, base: write.base, late: write.late) }
        return Done(id: id, files: applied.files)
    }

    /// Puts into a file what another program wrote to the one that it replaced.
    private func rescue(_ path: VaultPath, base: [UInt8], late: [UInt8]) {
        for _ in 0..<10 {
            guard let now = try? files.read(path).bytes, let texts = Self.texts(base, now, late) else { break }
            let merged = ThreeWayMerge.union(base: texts[0], ours: texts[1], theirs: texts[2])
            let change = FileChange.write(path, before: now, after: Array(merged.utf8))
            if (try? apply("merge", [change])) != nil { return }
        }
        // Nothing is thrown away: what cannot be put together stands beside it.
        let name = "\(path.folder.isEmpty ? "" : path.folder + "/")\(path.title) (saved meanwhile).md"
        _ = try? apply("merge", [.write(VaultPath(trusted: name), before: nil, after: late)])
    }

    private static func texts(_ bytes: [UInt8]...) -> [String]? {
        let texts = bytes.compactMap { String(validating: $0, as: UTF8.self) }
        return texts.count == bytes.count ? texts : nil
    }

    /// What the journal is still to be told.
    enum Settlement: Sendable {
        case finish(Int64, [Int: String])
        case forget(Int64)
    }

    /// Tells the journal how a change came out, and what it could not be told before.
    private func settle(_ settlement: Settlement) {
        let owed = state.withLock { state in
            defer { state.owed = [] }
            return state.owed + [settlement]
        }
        for (place, each) in owed.enumerated() {
            do {
                switch each {
                case .finish(let id, let trashed): try journal.finish(id, trashed: trashed)
                case .forget(let id): try journal.forget(id)
                }
            } catch {
                state.withLock { $0.owed = Array(owed[place...]) }
                return unjournaled(error)
            }
        }
        journaled()
    }

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Brings the index to what changes have made of the files.
    private func take(_ changes: [FileChange], _ files: [VaultFiles.Changed]) throws {
        var gone: [String] = []
        var others: [String] = []
        var notes: [IndexedNote] = []
        for (change, file) in zip(changes, files) {
            if let from = change.from { gone.append(from.text) }
            switch change.content {
            case .deleted: gone.append(change.path.text)
            case .written(_, let bytes):
                guard change.path.isLinking, let stamp = file.stamp, let text = String(validating: bytes, as: UTF8.self)
                else {
                    others.append(change.path.text)
                    continue
                }
                notes.append(note(change.path.text, text, ContentVersion.of(bytes), stamp))
            case .kept: others.append(change.path.text)
            }
        }
        if !gone.isEmpty { try drop(gone) }
        if !notes.isEmpty { try put(notes) }
        if !others.isEmpty { try refresh(others) }
    }

    /// Writes a note; `expected` is the version it must still have.
    func write(
        _ path: VaultPath, _ text: String, expecting expected: String? = nil, operation: String = "write"
    ) throws -> (version: String, change: Int64?) {
        let current = try? files.read(path).bytes
        if let expected {
            let version = current.map(ContentVersion.of) ?? "none"
            guard version == expected else {
                throw VaultError(
                    .aborted, "'\(path)' has changed since you read it: its version is \(version), not \(expected); read it again",
                    details: ["version": .string(version)])
            }
        }
        let bytes = Array(text.utf8)
        let version = ContentVersion.of(bytes)
        if current == bytes { return (version, nil) }
        return (version, try apply(operation, [.write(path, before: current, after: bytes)]).id)
    }

    // MARK: The index

    /// What is in the files is done, whatever becomes of the index: it is made to agree later.
    private func indexing(_ body: () throws -> Void) {
        do { try body() } catch { lags(error) }
    }

    /// The index could not take a change; it is behind until `synchronize` has succeeded.
    func lags(_ error: any Error) {
        state.withLock { state in
            state.problem = NoteIndex.reason(error)
            let total = state.paths.count { VaultPath(trusted: $0).isNote }
            state.progress = Progress(done: min(state.progress.done, max(0, total - 1)), total: total, isComplete: false)
        }
    }

    // MARK: Index

    private func note(
        _ path: String, _ text: String, _ version: String, _ stamp: VaultFiles.Stamp
    ) -> IndexedNote {
        let parsed =
            VaultPath(trusted: path).isCanvas
            ? ParsedNote(links: Canvas.read(text)?.links ?? []) : NoteParser.parse(text)
        return IndexedNote(path: path, version: version, stamp: stamp, text: text, parsed: parsed)
    }

    private func put(_ notes: [IndexedNote]) throws {
        insert(notes.map(\.path))
        try index.put(notes)
    }

    private func insert(_ paths: [String]) {
        state.withLock { state in
            for path in paths where state.paths.insert(path).inserted { state.resolver.insert(path) }
        }
    }

    private func drop(_ paths: [String]) throws {
        state.withLock { state in
            for path in paths where state.paths.remove(path) != nil { state.resolver.remove(path) }
        }
        try index.remove(paths.filter { VaultPath(trusted: $0).isLinking })
    }

    /// Brings the index up to date for files that may have changed, appeared or gone.
    func refresh(_ paths: [String]) throws {
        var notes: [IndexedNote] = []
        var gone: [String] = []
        var others: [String] = []
        for path in paths {
            let place = VaultPath(trusted: path)
            guard !place.isHidden, files.stamp(place) != nil else {
                gone.append(path)
                continue
            }
            guard place.isLinking else {
                others.append(path)
                continue
            }
            // What is not text, or goes away meanwhile, has no place in the index.
            if let (text, version, stamp) = try? readText(place) { notes.append(note(path, text, version, stamp)) }
            else { others.append(path) }
        }
        insert(others)
        if !gone.isEmpty { try drop(gone) }
        if !notes.isEmpty { try put(notes) }
    }

    /// Compares all files with the index and takes over what differs. `shouldStop` is asked between batches.
    func synchronize(shouldStop: () -> Bool) throws {
        var found: [String: VaultFiles.Stamp] = [:]
        try files.scan { path, stamp in found[path] = stamp }
        insert(found.keys.sorted())
        let known = try index.stamps()
        let gone = Set(known.keys).union(paths).subtracting(found.keys)
        // Looked at again: another call may have made it meanwhile.
        if !gone.isEmpty { try change { try refresh(Array(gone)) } }
        func notes(_ paths: some Sequence<String>) -> Int { paths.count { VaultPath(trusted: $0).isNote } }
        let changed = found.filter { VaultPath(trusted: $0.key).isLinking && known[$0.key] != $0.value }.keys.sorted()
        let total = notes(found.keys)
        var progress = Progress(done: total - notes(changed), total: total, isComplete: false)
        report(progress)
        for start in stride(from: 0, to: changed.count, by: 64) {
            if shouldStop() { return }
            let batch = Array(changed[start..<min(start + 64, changed.count)])
            try change { try refresh(batch) }
            progress.done += notes(batch)
            report(progress)
        }
        progress.isComplete = true
        report(progress)
        state.withLock { $0.problem = nil }
    }

    private func report(_ progress: Progress) { state.withLock { $0.progress = progress } }
}
