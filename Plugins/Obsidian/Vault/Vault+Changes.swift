import Glibc
import KnapPlugin

/// How a vault is changed; all of it inside ``Vault/change(_:)``.
extension Vault {
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
        }
        let applied: VaultFiles.Applied
        do throws(VaultFiles.Failure) {
            applied = try files.apply(changes, id: id.map(journal.temporaries) ?? "\(getpid())-\(UInt64.random(in: 0 ... .max))")
        } catch {
            // What could not be taken back stays in the journal for the next start.
            if let id, error.isTakenBack { journal.settle(.forget(id)) }
            guard error.isTakenBack else {
                throw VaultError(
                    .internal, "\(error.error.message); not all of it could be taken back, which is tried again at the next start")
            }
            throw error.error
        }
        let trashed = applied.files.enumerated().compactMap { place, file in file.trashed.map { (place, $0) } }
        if let id { journal.settle(.finish(id, trashed: Dictionary(uniqueKeysWithValues: trashed))) }
        // A folder that a move made goes with what is moved back from it.
        if undone != nil { removeFolders(emptiedOf: changes.compactMap { $0.from?.isHidden == false ? $0.from?.text : nil }) }
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
            if change.isFolder {
                if let from = change.from { try carry(from, to: change.path) }
                continue
            }
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
            case .folder: break
            }
        }
        if !gone.isEmpty { try drop(gone) }
        if !notes.isEmpty { try put(notes) }
        if !others.isEmpty { try refresh(others) }
        // Also while the index is made for the first time.
        self.changes.tell(gone.map { ($0, "") } + notes.map { ($0.path, $0.version) })
    }

    /// Writes a note; `expected` is the version it must still have.
    func write(
        _ path: VaultPath, _ text: String, expecting expected: String? = nil, operation: String = "write"
    ) throws -> (version: String, change: Int64?) {
        let current = try? files.read(path).bytes
        if let expected { try Self.check(path, current, isOf: expected) }
        let bytes = Array(text.utf8)
        let version = ContentVersion.of(bytes)
        if current == bytes { return (version, nil) }
        return (version, try apply(operation, [.write(path, before: current, after: bytes)]).id)
    }

    /// That a file has the version that somebody knows.
    func check(_ path: VaultPath, isOf expected: String) throws {
        try Self.check(path, try? files.read(path).bytes, isOf: expected)
    }

    static func check(_ path: VaultPath, _ current: [UInt8]?, isOf expected: String) throws(VaultError) {
        let version = current.map(ContentVersion.of)
        guard version != expected else { return }
        throw Conflict.error(
            path, expected: expected, version: version, current: current.flatMap { String(validating: $0, as: UTF8.self) })
    }
}
