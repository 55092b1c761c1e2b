import CVaultShims
import GRDB

/// Bringing the index to what the files are.
extension Vault {
    /// What was found out about some files while others were written to the index.
    private struct Looked: Sendable {
        var notes: [IndexedNote] = []
        /// Their content is as the index has it.
        var restamped: [(path: String, stamp: VaultFiles.Stamp)] = []
        var unchanged: [String] = []
        /// To be looked at again when nobody changes anything: files without links, and those that cannot be read.
        var others: [String] = []

        mutating func add(_ more: Looked) {
            notes += more.notes
            restamped += more.restamped
            unchanged += more.unchanged
            others += more.others
        }
    }

    /// As many files as one thread looks at before it gives them on.
    private static let mostRead = 128, mostBytesRead: Int64 = 1 << 20
    /// As many as are written to the index at once, which others wait for; and when everything is, the first time: few
    /// large parts cost FTS5 half as much as many small ones.
    private static let mostWritten = 512, mostWrittenAtFirst = 2048

    /// Takes over files that may have changed, appeared or gone. They are read and parsed ahead, on several threads.
    ///
    /// `shouldStop` is asked between steps, and `done` told the files of each; false where it was stopped.
    @discardableResult
    func update(
        _ paths: [String], size: (String) -> Int64 = { _ in 0 }, shouldStop: () -> Bool = { false },
        done: ([String]) -> Void = { _ in }
    ) throws -> Bool {
        let parts = Self.parts(of: paths, size)
        let most = try index.count() == 0 ? Self.mostWrittenAtFirst : Self.mostWritten
        var ahead = ReadAhead(parts) { [self] in look(at: $0) }
        var seen: (paths: [String], looked: Looked, bytes: Int64) = ([], Looked(), 0)
        for (number, part) in parts.enumerated() {
            guard !shouldStop(), let looked = ahead.next() else { return false }
            seen.paths += part
            seen.looked.add(looked)
            seen.bytes += part.reduce(0) { $0 + size($1) }
            guard seen.paths.count >= most || seen.bytes >= Self.mostBytesRead * 8 || number == parts.count - 1 else {
                continue
            }
            try change { try take(seen.looked) }
            done(seen.paths)
            seen = ([], Looked(), 0)
        }
        if parts.count > 1 { knap_vault_trim() }
        return true
    }

    private static func parts(of paths: [String], _ size: (String) -> Int64) -> [[String]] {
        var parts: [[String]] = []
        var bytes: Int64 = 0
        for path in paths {
            if parts.isEmpty || parts[parts.count - 1].count >= mostRead || bytes >= mostBytesRead {
                parts.append([])
                bytes = 0
            }
            parts[parts.count - 1].append(path)
            bytes += size(path)
        }
        return parts
    }

    /// Without a lock: ``take(_:)`` looks whether it still holds.
    private func look(at paths: [String]) -> Looked {
        var looked = Looked()
        // Without the index everything is new.
        let known = (try? index.versions(of: paths)) ?? [:]
        func look(_ tokenizer: (any FTS5Tokenizer)?) {
            for path in paths {
                let place = VaultPath(trusted: path)
                guard place.isLinking, !place.isHidden, let (text, version, stamp) = try? readText(place) else {
                    looked.others.append(path)
                    continue
                }
                if let known = known[path], known.version == version {
                    if known.stamp == stamp { looked.unchanged.append(path) }
                    else { looked.restamped.append((path, stamp)) }
                    continue
                }
                var note = note(path, text, version, stamp)
                if place.isNote, let tokenizer { note.words = try? WordSet([note.title, text], tokenizer) }
                looked.notes.append(note)
            }
        }
        do { try Folding.withTokenizer { look($0) } } catch { look(nil) }
        return looked
    }

    /// What has changed since it was read is read again.
    private func take(_ looked: Looked) throws {
        var again = looked.others
        func isCurrent(_ path: String, _ stamp: VaultFiles.Stamp) -> Bool {
            if files.stamp(VaultPath(trusted: path)) == stamp { return true }
            again.append(path)
            return false
        }
        // Who changed the vault meanwhile may have told the index what these are.
        let known = try index.versions(of: looked.notes.map(\.path))
        let notes = looked.notes.filter { note in
            guard isCurrent(note.path, note.stamp) else { return false }
            return known[note.path].map { $0 != (note.version, note.stamp) } ?? true
        }
        let restamped = looked.restamped.filter { isCurrent($0.path, $0.stamp) }
        if !notes.isEmpty { try put(notes) }
        try index.restamp(restamped)
        found(looked.unchanged + restamped.map(\.path))
        if !again.isEmpty { try refresh(again) }
    }

    /// Compares all files with the index and takes over what differs. `shouldStop` is asked between steps.
    func synchronize(shouldStop: () -> Bool) throws {
        var files: [String: VaultFiles.Stamp] = [:]
        try self.files.scan { path, stamp in files[path] = stamp }
        found(files.keys.sorted())
        let known = try index.stamps()
        let gone = Set(known.keys).union(paths).subtracting(files.keys)
        // Looked at again: another call may have made it meanwhile.
        if !gone.isEmpty { try change { try refresh(Array(gone)) } }
        func notes(_ paths: some Sequence<String>) -> Int { paths.count { VaultPath(trusted: $0).isNote } }
        let changed = files.filter { VaultPath(trusted: $0.key).isLinking && known[$0.key] != $0.value }.keys.sorted()
        let total = notes(files.keys)
        var progress = Progress(done: total - notes(changed), total: total, isComplete: false)
        report(progress)
        let isDone = try update(changed, size: { files[$0]?.size ?? 0 }, shouldStop: shouldStop) { step in
            progress.done += notes(step)
            report(progress)
        }
        guard isDone else { return }
        progress.isComplete = true
        report(progress)
        agrees()
    }
}
