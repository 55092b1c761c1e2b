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
    }

    /// As many files as are written to the index at once, which others wait for; and that FTS5 makes of everything the
    /// first time, when few large parts cost half as much as many small ones.
    private static let mostFiles = 512, mostFilesAtFirst = 2048, mostBytes: Int64 = 4 << 20

    /// Takes over files that may have changed, appeared or gone. They are read and parsed ahead, on several threads.
    ///
    /// `shouldStop` is asked between steps, and `done` told the files of each; false where it was stopped.
    @discardableResult
    func update(
        _ paths: [String], size: (String) -> Int64 = { _ in 0 }, shouldStop: () -> Bool = { false },
        done: ([String]) -> Void = { _ in }
    ) throws -> Bool {
        var steps: [[String]] = []
        var bytes: Int64 = 0
        let mostFiles = try index.count() == 0 ? Self.mostFilesAtFirst : Self.mostFiles
        for path in paths {
            // The first is small, so that the others are not waited for from the beginning.
            let most = steps.count == 1 ? Self.mostFiles : mostFiles
            if steps.isEmpty || steps[steps.count - 1].count >= most || bytes >= Self.mostBytes {
                steps.append([])
                bytes = 0
            }
            steps[steps.count - 1].append(path)
            bytes += size(path)
        }
        var looked = ReadAhead(steps) { [self] in look(at: $0) }
        for step in steps {
            guard !shouldStop(), let looked = looked.next() else { return false }
            try change { try take(looked) }
            done(step)
        }
        return true
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
        let notes = looked.notes.filter { isCurrent($0.path, $0.stamp) }
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
