import CVaultShims
import Glibc
import KnapPlugin

extension VaultFiles {
    /// What became of a file that was changed.
    struct Changed: Sendable {
        /// Nil where it is gone.
        var stamp: Stamp?
        /// Where the trash has it.
        var trashed: String?
    }

    /// A file that is written beside its place, and takes it when all others are.
    private struct Staged {
        var place: Int
        var folder: Int32
        var temporary: String
        var path: VaultPath
        /// What is to be in its place already; nil for nothing.
        var before: [UInt8]?
        var stamp: Stamp
    }

    /// A file that lost its place, to which another program may still be writing what belongs into the one in its place.
    private struct Displaced {
        var descriptor: Int32
        var path: VaultPath
        var content: [UInt8]
    }

    private enum Step {
        case moved(VaultPath, VaultPath)
        case trashed(VaultPath, String)
        case published(VaultPath, before: [UInt8]?)
    }

    /// Makes changes of several files, all or none: where one cannot be made those before it are taken back.
    ///
    /// Everything is on disk before the first file is seen to change, and every rename when this returns; a crash in
    /// between leaves each file whole, the old one or the new one.
    ///
    /// - Parameter id: Names the temporary files, so that ``removeTemporaries(of:_:)`` finds them.
    func apply(_ changes: [FileChange], id: String) throws(VaultError) -> [Changed] {
        var staged: [Staged] = []
        var done: [Step] = []
        var displaced: [Displaced] = []
        var results = [Changed](repeating: Changed(), count: changes.count)
        defer {
            for file in staged { close(file.folder) }
            for file in displaced { close(file.descriptor) }
        }
        do throws(VaultError) {
            for (place, change) in changes.enumerated() {
                guard case .written(let before, let after) = change.content else { continue }
                staged.append(try stage(change, place, after, before: before, id))
            }
            try persist(staged, changes)
            for (place, change) in changes.enumerated() {
                if let from = change.from {
                    try move(from, to: change.path)
                    done.append(.moved(from, change.path))
                    results[place].stamp = stamp(change.path)
                }
                if case .deleted = change.content {
                    let name = try trash(change.path)
                    done.append(.trashed(change.path, name))
                    results[place] = Changed(trashed: name)
                }
            }
            for file in staged {
                try publish(file, &displaced)
                done.append(.published(file.path, before: file.before))
                results[file.place].stamp = file.stamp
            }
            for file in staged { fsync(file.folder) }
            for file in displaced { rescue(file, id) }
            return results
        } catch {
            for file in staged { unlinkat(file.folder, file.temporary, 0) }
            takeBack(done, of: id)
            for file in displaced { rescue(file, id) }
            throw error
        }
    }

    private static func temporary(_ id: String, _ place: Int) -> String { ".knap-\(id)-\(place)" }

    private func stage(
        _ change: FileChange, _ place: Int, _ bytes: [UInt8], before: [UInt8]?, _ id: String
    ) throws(VaultError) -> Staged {
        let mode = try mode(of: change.from ?? change.path) ?? 0o644
        let folder = try openFolder(change.path.folder, creating: true)
        let name = Self.temporary(id, place)
        let file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
        guard file >= 0 else {
            let error = failure("write", change.path)
            close(folder)
            throw error
        }
        defer { close(file) }
        var status = stat()
        guard fchmod(file, mode) == 0, writeAll(file, bytes), fstat(file, &status) == 0 else {
            let error = failure("write", change.path)
            unlinkat(folder, name, 0)
            close(folder)
            throw error
        }
        return Staged(
            place: place, folder: folder, temporary: name, path: change.path, before: before, stamp: Stamp(status))
    }

    /// Nil where there is no file.
    private func mode(of path: VaultPath) throws(VaultError) -> mode_t? {
        guard let folder = try? openFolder(path.folder, creating: false) else { return nil }
        defer { close(folder) }
        var status = stat()
        guard fstatat(folder, path.name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw VaultError(.failedPrecondition, "'\(path)' is not an ordinary file and is not overwritten")
        }
        return status.st_mode & 0o777
    }

    /// One file is waited for alone; many together, which costs about as much as one.
    private func persist(_ staged: [Staged], _ changes: [FileChange]) throws(VaultError) {
        guard let first = staged.first else { return }
        if staged.count > 1 {
            guard knap_syncfs(first.folder) == 0 else { throw failure("write", first.path) }
            return
        }
        let file = openat(first.folder, first.temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { throw failure("write", first.path) }
        defer { close(file) }
        guard fsync(file) == 0 else { throw failure("write", first.path) }
    }

    /// Gives a file its place, if what is there is what was expected: what another program has just written, or is
    /// writing, is never lost.
    private func publish(_ file: Staged, _ displaced: inout [Displaced]) throws(VaultError) {
        guard let before = file.before else {
            return try rename(file.folder, file.temporary, file.folder, file.path.name, what: file.path)
        }
        try check(file.path.name, in: file, is: before, patience: Self.patienceForWriters)
        let replacing = openat(file.folder, file.temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        defer { if replacing >= 0 { close(replacing) } }
        guard knap_exchange(file.folder, file.temporary, file.path.name) == 0 else {
            // File systems without it get the check and the rename as two steps.
            guard errno == EINVAL || errno == ENOENT else { throw failure("write", file.path) }
            guard renameat(file.folder, file.temporary, file.folder, file.path.name) == 0 else {
                throw failure("write", file.path)
            }
            return
        }
        do throws(VaultError) {
            // What was there has the temporary name now, so nobody else can open it any more.
            try check(file.temporary, in: file, is: before)
        } catch {
            // For a moment others may have written to ours.
            keep(dup(replacing), file.path, contents(of: replacing, file.path), &displaced)
            knap_exchange(file.folder, file.temporary, file.path.name)
            throw error
        }
        keep(openat(file.folder, file.temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), file.path, before, &displaced)
        unlinkat(file.folder, file.temporary, 0)
    }

    /// As many as a process may well have open: a change of more files is no editor's rival.
    private static let maximumDisplaced = 64

    private func keep(_ descriptor: Int32, _ path: VaultPath, _ content: [UInt8]?, _ displaced: inout [Displaced]) {
        guard descriptor >= 0 else { return }
        guard let content, displaced.count < Self.maximumDisplaced else {
            close(descriptor)
            return
        }
        displaced.append(Displaced(descriptor: descriptor, path: path, content: content))
    }

    /// Puts into its successor what a program wrote to a file that it had found before the file lost its place.
    private func rescue(_ file: Displaced, _ id: String) {
        var patience = Self.patienceForWriters
        while knap_has_writer(file.descriptor) != 0, patience > 0 {
            usleep(10_000)
            patience -= 1
        }
        guard let late = contents(of: file.descriptor, file.path), late != file.content else { return }
        for attempt in 0..<10 {
            guard let now = try? read(file.path).bytes else { return }
            let merged = ThreeWayMerge.union(
                base: String(decoding: file.content, as: UTF8.self), ours: String(decoding: now, as: UTF8.self),
                theirs: String(decoding: late, as: UTF8.self))
            let change = FileChange.write(file.path, before: now, after: Array(merged.utf8))
            if (try? apply([change], id: "\(id)-late-\(attempt)")) != nil { return }
        }
    }

    private func contents(of descriptor: Int32, _ path: VaultPath) -> [UInt8]? {
        guard descriptor >= 0, lseek(descriptor, 0, SEEK_SET) == 0 else { return nil }
        return try? read(descriptor, path).bytes
    }

    /// Hundredths of a second that another program has to come to the end of its writing.
    private static let patienceForWriters = 50

    private func check(
        _ name: String, in file: Staged, is expected: [UInt8], patience: Int = 0
    ) throws(VaultError) {
        let changed = VaultError(
            .aborted, "'\(file.path)' was changed by another program just now; nothing was done, read it again")
        let descriptor = openat(file.folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw changed }
        defer { close(descriptor) }
        var patience = patience
        while knap_has_writer(descriptor) != 0 {
            guard patience > 0 else {
                throw VaultError(
                    .aborted, "another program has '\(file.path)' open and is writing it; nothing was done, try again")
            }
            usleep(10_000)
            patience -= 1
        }
        guard try read(descriptor, file.path).bytes == expected else { throw changed }
    }

    /// In the other order. What cannot be taken back either, as on a disk that fails, stays for the next start.
    private func takeBack(_ done: [Step], of id: String) {
        for (place, step) in done.enumerated().reversed() {
            switch step {
            case .moved(let from, let to): try? move(to, to: from)
            case .trashed(let path, let name): try? move(VaultPath(trusted: name), to: path)
            case .published(let path, let before):
                if let before {
                    guard let now = try? read(path).bytes else { continue }
                    _ = try? apply([.write(path, before: now, after: before)], id: "\(id)-back-\(place)")
                } else {
                    remove(path)
                }
            }
        }
    }

    private func remove(_ path: VaultPath) {
        guard let folder = try? openFolder(path.folder, creating: false) else { return }
        defer { close(folder) }
        unlinkat(folder, path.name, 0)
        fsync(folder)
    }

    /// Removes what a change that was cut off left beside its files.
    func removeTemporaries(of id: String, _ changes: [FileChange]) {
        for (place, change) in changes.enumerated() {
            guard let folder = try? openFolder(change.path.folder, creating: false) else { continue }
            defer { close(folder) }
            unlinkat(folder, Self.temporary(id, place), 0)
        }
    }
}
