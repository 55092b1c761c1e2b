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

    /// Changes that were made.
    struct Applied {
        var files: [Changed]
        /// To be looked at once the changes are counted as made.
        var displaced: DisplacedFiles
    }

    /// A file that is written beside its place, and takes it when all others are.
    private struct Staged {
        var place: Int
        var folder: Int32
        var temporary: String
        var path: VaultPath
        /// What is to be in its place already; nil for nothing.
        var before: [UInt8]?
        var after: [UInt8]
        var stamp: Stamp
    }

    private enum Step {
        case moved(VaultPath, VaultPath)
        case trashed(VaultPath, String)
        case published(VaultPath, before: [UInt8]?, after: [UInt8])
    }

    /// Why changes were not made, and whether all is as it was before.
    struct Failure: Error {
        var error: VaultError
        var isTakenBack: Bool
    }

    /// Makes changes of several files, all or none: where one cannot be made those before it are taken back.
    ///
    /// What is written is on disk before the first file is seen to change, and every rename when this returns; a crash in
    /// between leaves each file whole, the old one or the new one.
    ///
    /// - Parameter id: Names the temporary files, so that ``removeTemporaries(of:_:)`` finds them.
    func apply(_ changes: [FileChange], id: String) throws(Failure) -> Applied {
        var staged: [Staged] = []
        var folders: [String: Int32] = [:]
        var done: [Step] = []
        let displaced = DisplacedFiles()
        let moving = changes.filter(\.isFolder)
        func isCarried(_ change: FileChange) -> Bool { moving.contains { $0.carries(change) } }
        let areManyMoved = changes.count { $0.from != nil } > Self.persistedOneByOne
        var results = [Changed](repeating: Changed(), count: changes.count)
        defer { for folder in folders.values { close(folder) } }
        let missing = missingFolders(of: changes)
        do throws(VaultError) {
            for change in changes {
                try demandWriting(change.path)
                if let from = change.from { try demandWriting(from) }
                if change.isFolder, let from = change.from { try demandWriting(allOf: from, to: change.path) }
            }
            for (place, change) in changes.enumerated() {
                guard case .written(let before, let after) = change.content else { continue }
                // What a folder takes along is written where that is, and moves with it.
                let name = (isCarried(change) ? change.from ?? change.path : change.path).folder
                if folders[name] == nil { folders[name] = try openFolder(name, creating: true) }
                guard let folder = folders[name] else { continue }
                staged.append(try stage(change, place, in: folder, before: before, after, id))
            }
            try persist(staged)
            for (place, change) in changes.enumerated() {
                if let from = change.from, !isCarried(change) {
                    try move(from, to: change.path, persisting: !areManyMoved)
                    done.append(.moved(from, change.path))
                    results[place].stamp = stamp(change.path)
                }
                if case .deleted(let before) = change.content {
                    let name = try trash(change.path)
                    done.append(.trashed(change.path, name))
                    try check(VaultPath(trusted: name), is: before, as: change.path)
                    results[place] = Changed(trashed: name)
                }
            }
            for file in staged {
                try publish(file, displaced)
                done.append(.published(file.path, before: file.before, after: file.after))
                results[file.place].stamp = file.stamp
            }
            if areManyMoved, folders[""] == nil { folders[""] = try openFolder("", creating: false) }
            let areMany = areManyMoved || folders.count > Self.persistedOneByOne
            if !areMany || !Self.persistDisks(of: Set(folders.values)) {
                for (path, folder) in folders { try persist(folder: folder, path) }
            }
            return Applied(files: results, displaced: displaced)
        } catch {
            for file in staged { removeTemporary(file) }
            let isTakenBack = takeBack(done, of: id)
            // Only where they are empty: somebody else may have put something into one.
            for folder in missing { removeEmptyFolder(folder) }
            throw Failure(error: error, isTakenBack: isTakenBack)
        }
    }

    /// The folders that changes are in and that are not there yet, the innermost first.
    private func missingFolders(of changes: [FileChange]) -> [VaultPath] {
        var missing: Set<VaultPath> = []
        for folder in Set(changes.map(\.path.folder)) {
            var path = VaultPath(trusted: folder)
            while !path.text.isEmpty, !missing.contains(path), !hasFolder(path) {
                missing.insert(path)
                path = VaultPath(trusted: path.folder)
            }
        }
        return missing.sorted { $0.text.utf8.count > $1.text.utf8.count }
    }

    private static func temporary(_ id: String, _ place: Int) -> String { ".knap-\(id)-\(place)" }

    private func stage(
        _ change: FileChange, _ place: Int, in folder: Int32, before: [UInt8]?, _ bytes: [UInt8], _ id: String
    ) throws(VaultError) -> Staged {
        let mode = try mode(of: change.from ?? change.path)
        let name = Self.temporary(id, place)
        let file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode ?? 0o644)
        guard file >= 0 else { throw failure("write", change.path) }
        defer { close(file) }
        var status = stat()
        guard mode.map({ fchmod(file, $0) == 0 }) ?? true, writeAll(file, bytes), fstat(file, &status) == 0 else {
            let error = failure("write", change.path)
            unlinkat(folder, name, 0)
            throw error
        }
        return Staged(
            place: place, folder: folder, temporary: name, path: change.path, before: before, after: bytes,
            stamp: Stamp(status))
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

    /// Past so many files all that waits to go to the disk is waited for, which costs less.
    private static let persistedOneByOne = 8

    private func persist(_ staged: [Staged]) throws(VaultError) {
        if staged.count > Self.persistedOneByOne, Self.persistDisks(of: Set(staged.map(\.folder))) { return }
        for each in staged {
            let file = openat(each.folder, each.temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
            guard file >= 0 else { throw failure("write", each.path) }
            defer { close(file) }
            guard fsync(file) == 0 else { throw failure("write", each.path) }
        }
    }

    /// All that waits, once for each disk; false where that cannot be had.
    private static func persistDisks(of folders: Set<Int32>) -> Bool {
        var disks: [dev_t: Int32] = [:]
        for folder in folders {
            var status = stat()
            guard fstat(folder, &status) == 0 else { return false }
            disks[status.st_dev] = folder
        }
        return disks.values.allSatisfy { knap_syncfs($0) == 0 }
    }

    /// The names in a folder. Some file systems have no such thing and keep them anyway, or not.
    private func persist(folder: Int32, _ path: String) throws(VaultError) {
        guard fsync(folder) == 0 || errno == EINVAL || errno == ENOTSUP else {
            throw failure("write", VaultPath(trusted: path))
        }
    }

    // MARK: - Beside other programs

    /// Gives a file its place, if what is there is what was expected: what another program has just written, or is
    /// writing, is never lost.
    private func publish(_ file: Staged, _ displaced: DisplacedFiles) throws(VaultError) {
        guard let before = file.before else {
            return try rename(file.folder, file.temporary, file.folder, file.path.name, what: file.path)
        }
        try check(file.path.name, in: file, is: before, patience: Self.patienceForWriters)
        let ours = openat(file.folder, file.temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        let theirs = openat(file.folder, file.path.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        defer { for descriptor in [ours, theirs] where descriptor >= 0 { close(descriptor) } }
        guard knap_exchange(file.folder, file.temporary, file.path.name) == 0 else {
            guard errno == EINVAL else { throw errno == ENOENT ? Self.changed(file.path) : failure("write", file.path) }
            // File systems without it get the check and the rename as two steps.
            guard renameat(file.folder, file.temporary, file.folder, file.path.name) == 0 else {
                throw failure("write", file.path)
            }
            displaced.keep(theirs, file.path, before)
            return
        }
        do throws(VaultError) {
            // What was there has the temporary name now, so nobody else can open it any more.
            try check(file.temporary, in: file, is: before)
        } catch {
            // For a moment others may have written to ours.
            displaced.keep(ours, file.path, file.after)
            if knap_exchange(file.folder, file.temporary, file.path.name) != 0 {
                knap_rename_new(file.folder, file.temporary, file.folder, file.path.name)
            }
            throw error
        }
        displaced.keep(theirs, file.path, before)
        unlinkat(file.folder, file.temporary, 0)
    }

    private static func changed(_ path: VaultPath) -> VaultError {
        VaultError(.aborted, "'\(path)' was changed by another program just now; nothing was done, read it again")
    }

    private func check(
        _ name: String, in file: Staged, is expected: [UInt8], patience: Int = 0
    ) throws(VaultError) {
        let descriptor = openat(file.folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.changed(file.path) }
        defer { close(descriptor) }
        guard Self.waitForWriters(of: descriptor, patience) else {
            throw VaultError(
                .aborted, "another program has '\(file.path)' open and is writing it; nothing was done, try again")
        }
        guard try read(descriptor, file.path).bytes == expected else { throw Self.changed(file.path) }
    }

    /// That what went to the trash is what was to be deleted.
    private func check(_ trashed: VaultPath, is expected: [UInt8], as path: VaultPath) throws(VaultError) {
        guard try read(trashed).bytes == expected else { throw Self.changed(path) }
    }

    /// Hundredths of a second that another program has to come to the end of its writing.
    private static let patienceForWriters = 50

    /// False where somebody still writes when the time is over.
    static func waitForWriters(of descriptor: Int32, _ patience: Int) -> Bool {
        var patience = patience
        while knap_has_writer(descriptor) != 0 {
            guard patience > 0 else { return false }
            usleep(10_000)
            patience -= 1
        }
        return true
    }

    /// What programs wrote to files that they had found before these lost their places.
    func lateWrites(to displaced: DisplacedFiles) -> [(path: VaultPath, base: [UInt8], late: [UInt8])] {
        displaced.files.compactMap { file in
            _ = Self.waitForWriters(of: file.descriptor, Self.patienceForWriters)
            guard lseek(file.descriptor, 0, SEEK_SET) == 0, let late = try? read(file.descriptor, file.path).bytes,
                late != file.content
            else { return nil }
            return (file.path, file.content, late)
        }
    }

    // MARK: - The way back

    /// Removes what was staged; what is somebody else's by now gets a name that is seen.
    private func removeTemporary(_ file: Staged) {
        var status = stat()
        guard fstatat(file.folder, file.temporary, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return }
        if UInt64(status.st_ino) == file.stamp.inode {
            unlinkat(file.folder, file.temporary, 0)
        } else {
            setAside(file.folder, file.temporary, file.path)
        }
    }

    private func setAside(_ folder: Int32, _ temporary: String, _ path: VaultPath) {
        for attempt in 1..<1000 {
            let name = VaultPath.name(
                path.isNote ? path.title : path.name, " (saved meanwhile \(attempt))\(path.isNote ? ".md" : "")")
            if knap_rename_new(folder, temporary, folder, name) == 0 || errno != EEXIST { return }
        }
    }

    /// In the other order. False where something cannot be taken back, as on a disk that fails, or is somebody else's by
    /// now.
    private func takeBack(_ done: [Step], of id: String) -> Bool {
        var isWhole = true
        for (place, step) in done.enumerated().reversed() {
            switch step {
            case .moved(let from, let to): isWhole = (try? move(to, to: from)) != nil && isWhole
            case .trashed(let path, let name):
                isWhole = (try? move(VaultPath(trusted: name), to: path)) != nil && isWhole
            case .published(let path, let before, let after):
                isWhole = takeBack(path, before, after, id: "\(id)-back-\(place)") && isWhole
            }
        }
        return isWhole
    }

    private func takeBack(_ path: VaultPath, _ before: [UInt8]?, _ after: [UInt8], id: String) -> Bool {
        guard let now = try? read(path).bytes else { return before == nil }
        guard let before else {
            return now == after && (try? apply([.delete(path, before: now)], id: id)) != nil
        }
        guard case .merged(let wanted) = ThreeWayMerge.merge(base: after, ours: now, theirs: before) else { return false }
        return wanted == now || (try? apply([.write(path, before: now, after: wanted)], id: id)) != nil
    }

    /// Removes what a change that was cut off left beside its files. What is none of its contents is what another program
    /// saved in that moment, and gets a name that is seen.
    func removeTemporaries(of id: String, _ changes: [FileChange]) {
        for folder in Set(changes.flatMap { [$0.path.folder, $0.from?.folder].compactMap(\.self) }) {
            guard let descriptor = try? openFolder(folder, creating: false) else { continue }
            defer { close(descriptor) }
            for name in names(in: descriptor) where name.hasPrefix(".knap-\(id)-") {
                let place = name.dropFirst(".knap-\(id)-".count).split(separator: "-").last.flatMap { Int($0) }
                let change = place.flatMap { changes.indices.contains($0) ? changes[$0] : nil }
                let path = VaultPath(trusted: folder.isEmpty ? name : folder + "/" + name)
                // A beginning of one was being written, its own most likely.
                let bytes = try? read(path).bytes
                let isOurs = bytes.map { bytes in
                    ([change].compactMap(\.self) + changes).contains { each in
                        each.contents.before?.starts(with: bytes) == true || each.contents.after?.starts(with: bytes) == true
                    }
                } ?? false
                if isOurs { unlinkat(descriptor, name, 0) } else { setAside(descriptor, name, change?.path ?? path) }
            }
        }
    }

    private func names(in folder: Int32) -> [String] {
        let descriptor = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0, let stream = fdopendir(descriptor) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(validating: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if let name { names.append(name) }
        }
        return names
    }
}
