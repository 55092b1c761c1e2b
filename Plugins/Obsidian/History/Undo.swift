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

    /// What would undo a change of the past. What was edited since stays: the two are put together line by line. Links
    /// to what moves back follow it, also those that were made since.
    func planUndo(of entry: ChangeJournal.Entry) -> UndoPlan {
        var changes: [FileChange] = []
        var conflicts: [UndoConflict] = []
        let moved = movedBack(by: entry)
        let links = moved.isEmpty ? nil : MovePlan(moved, in: self)
        for file in entry.files.reversed() {
            switch undo(file, links, of: entry) {
            case .success(let change): if let change { changes.append(change) }
            case .failure(let failure): conflicts += failure.conflicts
            }
        }
        let folders = changes.filter(\.isFolder)
        changes.removeAll { change in change.content == .kept && folders.contains { $0.carries(change) } }
        let known = Set(entry.files.map(\.change.path.text))
        do {
            for source in try links?.sources() ?? [] where conflicts.isEmpty && !known.contains(source) {
                guard try !isUntouched(source, since: entry), let content = try links?.content(of: source) else { continue }
                let path = VaultPath(trusted: source)
                changes.append(
                    moved[source].map { .move(path, to: VaultPath(trusted: $0), content) } ?? FileChange(path: path, content: content))
            }
        } catch {
            let reason = (error as? VaultError)?.message ?? NoteIndex.reason(error)
            conflicts.append(UndoConflict(path: entry.files.first?.change.path.text ?? "", reason: reason))
        }
        return conflicts.isEmpty ? .possible(folders + changes.filter { !$0.isFolder }) : .conflicts(conflicts)
    }

    /// Whether a file is as it was when a change was made. Its links are then none that were made since: one that led
    /// nowhere is to do that again.
    private func isUntouched(_ source: String, since entry: ChangeJournal.Entry) throws -> Bool {
        let path = VaultPath(trusted: source)
        if let then = try journal.content(of: source, after: entry.id) { return try files.read(path).bytes == then }
        return files.stamp(path).map { Double($0.modifiedNs) / 1e9 < entry.time } ?? true
    }

    /// Where each file would go, by where it is.
    private func movedBack(by entry: ChangeJournal.Entry) -> [String: String] {
        var moved: [String: String] = [:]
        for change in entry.files.map(\.change) {
            guard let from = change.from, !change.path.isHidden, !from.isHidden else { continue }
            if change.isFolder {
                for path in files(in: change.path) { moved[path] = from.text + path.dropFirst(change.path.text.count) }
            } else if paths.contains(change.path.text) {
                moved[change.path.text] = from.text
            }
        }
        return moved
    }

    private struct Conflicts: Error { var conflicts: [UndoConflict] }

    private func conflict(_ path: VaultPath, _ reason: String) -> Result<FileChange?, Conflicts> {
        .failure(Conflicts(conflicts: [UndoConflict(path: path.text, reason: reason)]))
    }

    private func undo(
        _ file: ChangeJournal.Entry.File, _ links: MovePlan?, of entry: ChangeJournal.Entry
    ) -> Result<FileChange?, Conflicts> {
        let change = file.change
        if change.isFolder { return undoFolder(change) }
        if case .deleted(let before) = change.content { return restore(change.path, before, from: file.trashed) }
        guard let current = try? files.read(change.path).bytes else {
            if case .written(nil, _) = change.content { return .success(nil) }
            return conflict(change.path, "the file is not there any more")
        }
        if let from = change.from, files.stamp(from) != nil { return conflict(from, "there is another file at this path now") }
        guard case .written(let before, let after) = change.content else {
            let isUntouched = (try? isUntouched(change.path.text, since: entry)) ?? true
            let content = isUntouched ? nil : try? links?.content(of: change.path.text)
            return .success(change.from.map { .move(change.path, to: $0, content ?? .kept) })
        }
        guard let before else {
            guard current == after else {
                return conflict(change.path, "the note was created by this change and edited since; delete it if that is meant")
            }
            return .success(.delete(change.path, before: current))
        }
        // With the links of both as they are to be, an edit of a line with a link is no conflict.
        let relinked: (base: [UInt8], ours: [UInt8])
        do throws(VaultError) {
            relinked = (try links?.rewrite(after, in: change.path) ?? after, try links?.rewrite(current, in: change.path) ?? current)
        } catch {
            return conflict(change.path, error.message)
        }
        switch ThreeWayMerge.merge(base: relinked.base, ours: relinked.ours, theirs: before) {
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

    private func undoFolder(_ change: FileChange) -> Result<FileChange?, Conflicts> {
        guard let from = change.from, files.isFolder(change.path) else {
            return conflict(change.path, "the folder is not there any more")
        }
        let isTaken = files.isFolder(from) && !files.isEmptyFolder(from) || files.stamp(from) != nil
        guard !isTaken || folded(from.text) == folded(change.path.text) else {
            return conflict(from, "there is another folder at this path now")
        }
        return .success(FileChange(path: from, from: change.path, content: .folder))
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
