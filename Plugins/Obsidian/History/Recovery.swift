extension Vault {
    /// Takes back what an earlier process began and did not finish; one that was done to its end is counted as done.
    func takeBackUnfinished() throws {
        for entry in try journal.unfinished() {
            let changes = entry.files.map(\.change)
            files.removeTemporaries(of: String(entry.id), changes)
            if changes.allSatisfy(isMade) {
                try journal.finish(entry.id, trashed: [:])
                continue
            }
            for (place, change) in changes.enumerated().reversed() {
                guard let back = wayBack(of: change) else { continue }
                _ = try? files.apply([back], id: "\(entry.id)-back-\(place)")
            }
            try journal.forget(entry.id)
        }
    }

    /// Whether a file is as a change leaves it.
    private func isMade(_ change: FileChange) -> Bool {
        switch change.content {
        case .written(_, let after): (try? files.read(change.path).bytes) == after
        case .deleted: files.stamp(change.path) == nil
        case .kept: isMoved(change)
        }
    }

    private func isMoved(_ change: FileChange) -> Bool {
        guard let from = change.from else { return false }
        return files.stamp(from) == nil && files.stamp(change.path) != nil
    }

    /// What has to be done to a file so that it is as before a change; nil where it is, or is somebody else's by now.
    private func wayBack(of change: FileChange) -> FileChange? {
        let isAfter = change.contents.after.map { (try? files.read(change.path).bytes) == $0 } ?? false
        if let from = change.from {
            guard isMoved(change) else { return nil }
            guard isAfter, case .written(let before?, let after) = change.content else {
                return .move(change.path, to: from)
            }
            return .move(change.path, to: from, .written(before: after, after: before))
        }
        switch change.content {
        case .kept: return nil
        case .deleted(let before): return isMade(change) ? .write(change.path, before: nil, after: before) : nil
        case .written(let before, let after):
            guard isAfter else { return nil }
            return before.map { .write(change.path, before: after, after: $0) } ?? .delete(change.path, before: after)
        }
    }
}
