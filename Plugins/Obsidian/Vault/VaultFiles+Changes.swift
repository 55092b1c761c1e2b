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
        var results = [Changed](repeating: Changed(), count: changes.count)
        defer { for file in staged { close(file.folder) } }
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
                try publish(file)
                done.append(.published(file.path, before: file.before))
                results[file.place].stamp = file.stamp
            }
            for file in staged { fsync(file.folder) }
            return results
        } catch {
            for file in staged { unlinkat(file.folder, file.temporary, 0) }
            takeBack(done, of: id)
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
    private func publish(_ file: Staged) throws(VaultError) {
        guard let before = file.before else {
            return try rename(file.folder, file.temporary, file.folder, file.path.name, what: file.path)
        }
        try waitForWriters(of: file)
        guard knap_exchange(file.folder, file.temporary, file.path.name) == 0 else {
            // File systems without it get the check and the rename as two steps.
            guard errno == EINVAL || errno == ENOENT else { throw failure("write", file.path) }
            try check(file.path.name, in: file, is: before)
            guard renameat(file.folder, file.temporary, file.folder, file.path.name) == 0 else {
                throw failure("write", file.path)
            }
            return
        }
        do throws(VaultError) {
            // What was there has the temporary name now, so nobody else can open it any more.
            try check(file.temporary, in: file, is: before)
        } catch {
            knap_exchange(file.folder, file.temporary, file.path.name)
            throw error
        }
        unlinkat(file.folder, file.temporary, 0)
    }

    /// Another program that writes the file has half a second to come to its end.
    private func waitForWriters(of file: Staged) throws(VaultError) {
        let descriptor = openat(file.folder, file.path.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var patience = 50
        while knap_has_writer(descriptor) != 0, patience > 0 {
            usleep(10_000)
            patience -= 1
        }
        guard patience > 0 else {
            throw VaultError(
                .aborted, "another program has '\(file.path)' open and is writing it; nothing was done, try again")
        }
    }

    private func check(_ name: String, in file: Staged, is expected: [UInt8]) throws(VaultError) {
        let changed = VaultError(
            .aborted, "'\(file.path)' was changed by another program just now; nothing was done, read it again")
        let descriptor = openat(file.folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw changed }
        defer { close(descriptor) }
        guard knap_has_writer(descriptor) == 0, try read(descriptor, file.path).bytes == expected else { throw changed }
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
