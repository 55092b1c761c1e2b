extension Vault {
    /// Takes back what an earlier process began and did not finish; one that was done to its end is counted as done.
    ///
    /// What cannot be taken back now stays in the journal, and is tried again at the next start.
    func takeBackUnfinished() {
        let unfinished: [ChangeJournal.Entry]
        let recovery: Recovery
        do {
            unfinished = try journal.unfinished()
            // Whoever began it was allowed to, whatever the rules are now.
            recovery = Recovery(files: try VaultFiles(root: files.root))
        } catch { return journal.note(error) }
        let files = recovery.files
        for entry in unfinished {
            let changes = entry.files.map(\.change)
            files.removeTemporaries(of: journal.temporaries(of: entry.id), changes)
            if changes.allSatisfy(recovery.isMade) {
                journal.settle(.finish(entry.id, trashed: [:]))
                continue
            }
            var isTakenBack = true
            // A folder first: what moved with it is then where it was.
            let folders = changes.enumerated().filter(\.element.isFolder)
            for (place, change) in folders + changes.enumerated().filter({ !$0.element.isFolder }).reversed() {
                do {
                    guard let back = try recovery.wayBack(of: change) else { continue }
                    _ = try files.apply([back], id: "\(journal.temporaries(of: entry.id))-back-\(place)")
                } catch {
                    isTakenBack = false
                    journal.note(error)
                    if change.isFolder { break }
                }
            }
            if isTakenBack { journal.settle(.forget(entry.id)) }
        }
    }
}

/// What has become of a change's files.
private struct Recovery {
    let files: VaultFiles

    /// Whether a file is as a change leaves it.
    func isMade(_ change: FileChange) -> Bool {
        switch change.content {
        case .written(_, let after): (try? files.read(change.path).bytes) == after
        case .deleted: files.stamp(change.path) == nil
        case .kept, .folder: isMoved(change)
        }
    }

    private func isMoved(_ change: FileChange) -> Bool {
        guard let from = change.from else { return false }
        if change.isFolder { return !files.isFolder(from) && files.isFolder(change.path) }
        return files.stamp(from) == nil && files.stamp(change.path) != nil
    }

    /// What has to be done to a file so that it is as before a change; nil where it is. What a person edited since stays.
    func wayBack(of change: FileChange) throws(VaultError) -> FileChange? {
        // Where it is: an earlier recovery may have moved it back already.
        let origin = change.from ?? change.path
        let place = isMoved(change) ? change.path : origin
        var content = FileChange.Content.kept
        switch change.content {
        case .kept: break
        case .folder: return isMoved(change) ? FileChange(path: origin, from: change.path, content: .folder) : nil
        case .deleted(let before): return isMade(change) ? .write(change.path, before: nil, after: before) : nil
        case .written(let before, let after):
            guard let now = try? files.read(place).bytes else { return nil }
            guard let before else { return now == after ? .delete(change.path, before: after) : nil }
            guard now != before else { break }
            guard case .merged(let wanted) = ThreeWayMerge.merge(base: after, ours: now, theirs: before) else {
                throw VaultError(.failedPrecondition, "'\(place)' was edited after a change of it was cut off")
            }
            if wanted != now { content = .written(before: now, after: wanted) }
        }
        if place != origin { return .move(place, to: origin, content) }
        return content == .kept ? nil : FileChange(path: place, content: content)
    }
}
