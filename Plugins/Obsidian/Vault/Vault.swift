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
        /// Whether the index is made for the first time: nothing that it finds is news.
        var isNew = false
    }

    /// What tools call it; no two open vaults have the same.
    let name: String
    let files: VaultFiles
    let index: NoteIndex
    let journal: ChangeJournal
    /// Nil where search by meaning is not set up.
    let meaning: MeaningIndex?
    let graph = GraphCache()
    let changes = VaultChanges()
    private let state = Mutex(State())
    private let changing: ChangeLock

    /// Changes of the same files through several views.
    private final class ChangeLock: Sendable {
        let mutex = Mutex(())
    }

    /// The same vault with what `access` allows, and an index of that.
    init(
        viewOf base: Vault, access: PathAccess, indexPath: String, meaning: (models: ModelSource, storePath: String)? = nil
    ) throws {
        files = try VaultFiles(root: base.files.root, access: access)
        name = base.name
        changing = base.changing
        do {
            index = try NoteIndex(path: indexPath)
        } catch {
            throw VaultError(.failedPrecondition, "the index '\(indexPath)' cannot be opened or made: \(error)")
        }
        journal = ChangeJournal(of: base.journal, showing: access)
        self.meaning = try meaning.map { [index] in try MeaningIndex(index: index, models: $0.models, storePath: $0.storePath) }
        // One that is found damaged is built anew.
        let isNew = (try? index.count() == 0) ?? true
        state.withLock { $0.isNew = isNew }
    }

    init(
        root: String, name: String? = nil, indexPath: String, journalPath: String,
        meaning: (models: ModelSource, storePath: String)? = nil, access: PathAccess = .all
    ) throws {
        files = try VaultFiles(root: root, access: access)
        changing = ChangeLock()
        self.name = name ?? VaultNames.unique([files.root])[0]
        do {
            index = try NoteIndex(path: indexPath)
        } catch {
            throw VaultError(.failedPrecondition, "the index '\(indexPath)' cannot be opened or made: \(error)")
        }
        journal = ChangeJournal(path: journalPath, showing: access)
        self.meaning = try meaning.map { [index] in try MeaningIndex(index: index, models: $0.models, storePath: $0.storePath) }
        // One that is found damaged is built anew.
        let isNew = (try? index.count() == 0) ?? true
        state.withLock { $0.isNew = isNew }
        takeBackUnfinished()
    }

    var progress: Progress { state.withLock { $0.progress } }

    /// What whoever changed the vault should know: the files are as they were told to be, but something lags behind them.
    var warning: String? {
        let warnings = [
            indexProblem.map { "search does not know it yet: \($0); it is indexed when that is mended" },
            journal.problem.map { "it cannot be undone, because the journal did not take it: \($0)" },
        ].compactMap(\.self)
        return warnings.isEmpty ? nil : "this is done and on disk, but " + warnings.joined(separator: "; and ")
    }

    /// Whether there may be files that its caller does not see.
    var isPartial: Bool { files.access.rules.contains { $0.access == .none } }

    /// The same for a change that follows links, headings or tags over the whole vault.
    var renameWarning: String? {
        let partial = isPartial ? "notes that you may not see keep their links and tags as they were" : nil
        let warnings = [warning, partial].compactMap(\.self)
        return warnings.isEmpty ? nil : warnings.joined(separator: "; ")
    }

    /// Why the index lags behind the files; nil when it does not.
    var indexProblem: String? { state.withLock { $0.problem } }

    /// Every visible file, notes and others.
    var paths: Set<String> { state.withLock { $0.paths } }

    func resolve(_ target: String, from source: String) -> String? {
        state.withLock { $0.resolver.resolve(target, from: source) }
    }

    var resolver: LinkResolver { state.withLock { $0.resolver } }

    /// Runs one change of the vault after the other.
    func change<T>(_ body: () throws -> T) rethrows -> T { try changing.mutex.withLock { _ in try body() } }

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
        return (try Self.text(bytes, of: path), ContentVersion.of(bytes), stamp)
    }

    static func text(_ bytes: [UInt8], of path: VaultPath) throws(VaultError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw VaultError(.failedPrecondition, "'\(path)' is not UTF-8 text; it is left as it is")
        }
        return text
    }

    /// The text of a note or canvas in which links, headings or tags are to be written anew; nil for one that has gone
    /// meanwhile, or is no text. One that cannot be read for another reason would be left behind: that throws.
    func textToRewrite(_ path: VaultPath) throws(VaultError) -> String? {
        let bytes: [UInt8]
        do throws(VaultError) { bytes = try files.read(path).bytes } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
        return String(validating: bytes, as: UTF8.self)
    }

    // MARK: The index

    /// What is in the files is done, whatever becomes of the index: it is made to agree later.
    func indexing(_ body: () throws -> Void) {
        do { try body() } catch { lags(error) }
    }

    /// The index could not take a change; it is behind until `synchronize` has succeeded.
    func lags(_ error: any Error) {
        index.found(error)
        state.withLock { state in
            state.problem = NoteIndex.reason(error)
            let total = state.paths.count { VaultPath(trusted: $0).isNote }
            state.progress = Progress(done: min(state.progress.done, max(0, total - 1)), total: total, isComplete: false)
        }
    }

    func note(
        _ path: String, _ text: String, _ version: String, _ stamp: VaultFiles.Stamp
    ) -> IndexedNote {
        let parsed =
            VaultPath(trusted: path).isCanvas
            ? ParsedNote(links: Canvas.read(text)?.links ?? []) : NoteParser.parse(text)
        return IndexedNote(path: path, version: version, stamp: stamp, text: text, parsed: parsed)
    }

    func put(_ notes: [IndexedNote]) throws {
        insert(notes.map(\.path))
        defer { graph.changed(notes.map(\.path)) }
        try index.put(notes)
        meaning?.changed(notes.map(\.path))
        tell(notes.map { ($0.path, $0.version) })
    }

    private func tell(_ files: [(path: String, version: String)]) {
        if !state.withLock({ $0.isNew }) { changes.tell(files) }
    }

    /// Files that are there, whatever is in them.
    func found(_ paths: [String]) { insert(paths) }

    private func insert(_ paths: [String]) {
        let inserted = state.withLock { state in
            let inserted = paths.filter { state.paths.insert($0).inserted }
            for path in inserted { state.resolver.insert(path) }
            return inserted
        }
        graph.changed(inserted)
    }

    func drop(_ paths: [String]) throws {
        defer { graph.changed(paths) }
        let known = state.withLock { state in
            paths.filter { path in
                guard state.paths.remove(path) != nil else { return false }
                state.resolver.remove(path)
                return true
            }
        }
        try index.remove(paths.filter { VaultPath(trusted: $0).isLinking })
        meaning?.changed(paths)
        tell(known.map { ($0, "") })
    }

    /// Has the index know that a folder moved.
    func carry(_ folder: VaultPath, to place: VaultPath) throws {
        let moved = files(in: folder).map { (from: $0, to: place.text + $0.dropFirst(folder.text.count)) }
        let touched = moved.flatMap { [$0.from, $0.to] }
        defer { graph.changed(touched) }
        state.withLock { state in
            for (from, to) in moved {
                if state.paths.remove(from) != nil { state.resolver.remove(from) }
                if state.paths.insert(to).inserted { state.resolver.insert(to) }
            }
        }
        try index.carry(moved)
        meaning?.changed(touched)
        let versions = try index.versions(of: moved.map(\.to))
        tell(moved.map { ($0.from, "") })
        tell(moved.map { ($0.to, versions[$0.to]?.version ?? files.stamp(VaultPath(trusted: $0.to)).map { "\($0)" } ?? "") })
    }

    /// Every visible file below a folder.
    func files(in folder: VaultPath) -> [String] { paths.filter { $0.hasPrefix(folder.text + "/") }.sorted() }

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
        tell(others.map { ($0, files.stamp(VaultPath(trusted: $0)).map { "\($0)" } ?? "") })
    }

    /// The index has taken everything.
    func agrees() {
        state.withLock { $0.problem = nil }
        meaning?.wordsAreComplete()
    }

    func report(_ progress: Progress) {
        state.withLock { state in
            state.progress = progress
            if progress.isComplete { state.isNew = false }
        }
        if progress.isComplete { changes.tellOfCompletion() }
    }
}
