import KnapPlugin

extension Vault {
    /// Why a change cannot be undone as it is.
    struct UndoConflict: Codable, Sendable, Hashable {
        var path: String
        var reason: String
        /// From 1, in the file as it is now; none where it is not about lines.
        var line: Int?
        /// What these lines were after the change, are now, and would be.
        var then: String?
        var now: String?
        var wanted: String?
    }

    enum UndoPlan: Sendable {
        case possible([FileChange])
        case conflicts([UndoConflict])
    }

    /// What would undo a change of the past. What was edited since stays: the two are put together line by line.
    func planUndo(of entry: ChangeJournal.Entry) -> UndoPlan {
        var changes: [FileChange] = []
        var conflicts: [UndoConflict] = []
        for file in entry.files.reversed() {
            switch undo(file) {
            case .success(let change): if let change { changes.append(change) }
            case .failure(let failure): conflicts += failure.conflicts
            }
        }
        return conflicts.isEmpty ? .possible(changes) : .conflicts(conflicts)
    }

    private struct Conflicts: Error { var conflicts: [UndoConflict] }

    private func conflict(_ path: VaultPath, _ reason: String) -> Result<FileChange?, Conflicts> {
        .failure(Conflicts(conflicts: [UndoConflict(path: path.text, reason: reason)]))
    }

    private func undo(_ file: ChangeJournal.Entry.File) -> Result<FileChange?, Conflicts> {
        let change = file.change
        if case .deleted(let before) = change.content { return restore(change.path, before, from: file.trashed) }
        guard let current = try? files.read(change.path).bytes else {
            if case .written(nil, _) = change.content { return .success(nil) }
            return conflict(change.path, "the file is not there any more")
        }
        if let from = change.from, files.stamp(from) != nil { return conflict(from, "there is another file at this path now") }
        guard case .written(let before, let after) = change.content else {
            return .success(change.from.map { .move(change.path, to: $0) })
        }
        guard let before else {
            guard current == after else {
                return conflict(change.path, "the note was created by this change and edited since; delete it if that is meant")
            }
            return .success(.delete(change.path, before: current))
        }
        switch ThreeWayMerge.merge(base: after, ours: current, theirs: before) {
        case .conflicts([]): return conflict(change.path, "the file is not text and has changed since")
        case .conflicts(let lines):
            let conflicts = lines.map {
                UndoConflict(
                    path: change.path.text, reason: "these lines were edited since", line: $0.line + 1, then: $0.base,
                    now: $0.ours, wanted: $0.theirs)
            }
            return .failure(Conflicts(conflicts: conflicts))
        case .merged(let bytes):
            if let from = change.from {
                let content = bytes == current ? FileChange.Content.kept : .written(before: current, after: bytes)
                return .success(.move(change.path, to: from, content))
            }
            return .success(bytes == current ? nil : .write(change.path, before: current, after: bytes))
        }
    }

    /// A deleted file comes back out of the trash, or, where that was emptied, out of the journal.
    private func restore(
        _ path: VaultPath, _ before: [UInt8], from trashed: String?
    ) -> Result<FileChange?, Conflicts> {
        if let current = try? files.read(path).bytes {
            return current == before ? .success(nil) : conflict(path, "there is another file at this path now")
        }
        if let trashed = trashed.map(VaultPath.init(trusted:)), (try? files.read(trashed).bytes) == before {
            return .success(.move(trashed, to: path))
        }
        return .success(.write(path, before: nil, after: before))
    }
}
