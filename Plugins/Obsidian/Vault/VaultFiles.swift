import CVaultShims
import Glibc
import KnapPlugin

/// The files of one vault. Every path is resolved beneath the root by the kernel, so that neither `..` nor a symbolic
/// link leads out of it.
///
/// All functions block; they run on the host's threads for that.
final class VaultFiles: Sendable {
    /// The real path of the root.
    let root: String
    /// What may be done with them. Nothing reads or changes a file of the vault but through this type, so it is here that
    /// the rules hold.
    let access: PathAccess
    private let descriptor: Int32
    /// O_PATH: to look at a file without opening it.
    private static let pathOnly: Int32 = 0x200000

    struct Stamp: Sendable, Hashable {
        var size: Int64
        var modifiedNs: Int64
        var inode: UInt64
    }

    init(root: String, access: PathAccess = .all) throws(VaultError) {
        self.access = access
        guard let resolved = realpath(root, nil) else {
            throw VaultError(.notFound, "the vault '\(root)' cannot be opened: \(Self.reason(errno))")
        }
        self.root = String(cString: resolved)
        free(resolved)
        descriptor = open(self.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw VaultError(.failedPrecondition, "the vault '\(root)' cannot be opened: \(Self.reason(errno))")
        }
    }

    deinit { close(descriptor) }

    // MARK: Reading

    func read(_ path: VaultPath) throws(VaultError) -> (bytes: [UInt8], stamp: Stamp) {
        let file = try openBeneath(path, O_RDONLY | O_NONBLOCK)
        defer { close(file) }
        waitIfFresh(file)
        var found = try read(file, path)
        // What was changed in the meantime may be a mixture of the old and the new.
        for _ in 0..<Self.rereads {
            var status = stat()
            guard fstat(file, &status) == 0, Stamp(status) != found.stamp, lseek(file, 0, SEEK_SET) == 0 else { break }
            found = try read(file, path)
        }
        return found
    }

    private static let rereads = 3
    /// Hundredths of a second in which a program that has just changed a file may come to the end of it.
    private static let patienceForFreshFiles = 10

    /// Many programs empty a file and then write it; in between it is nobody's.
    private func waitIfFresh(_ file: Int32) {
        var status = stat()
        var now = timespec()
        guard fstat(file, &status) == 0, clock_gettime(CLOCK_REALTIME, &now) == 0,
            now.tv_sec - status.st_mtim.tv_sec <= 1
        else { return }
        _ = Self.waitForWriters(of: file, Self.patienceForFreshFiles)
    }

    func read(_ file: Int32, _ path: VaultPath) throws(VaultError) -> (bytes: [UInt8], stamp: Stamp) {
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw VaultError(.invalidArgument, "'\(path)' is not a file")
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size) + 1)
        var count = 0
        while true {
            if count == bytes.count { bytes += [UInt8](repeating: 0, count: bytes.count) }
            let got = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(file, buffer.baseAddress.map { $0 + count }, buffer.count - count)
            }
            if got == 0 { break }
            guard got > 0 || errno == EINTR else { throw failure("read", path) }
            count += max(got, 0)
        }
        bytes.removeSubrange(count...)
        return (bytes, Stamp(status))
    }

    func stamp(_ path: VaultPath) -> Stamp? {
        guard let file = try? openBeneath(path, Self.pathOnly) else { return nil }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Stamp(status)
    }

    /// True for a symbolic link within the vault to one, too.
    func hasFolder(_ path: VaultPath) -> Bool {
        guard let folder = try? openBeneath(path, Self.pathOnly | O_DIRECTORY) else { return false }
        close(folder)
        return true
    }

    /// Every visible file with its stamp, in no order. Folders behind symbolic links are not entered.
    ///
    /// Throws where that cannot be known: what is not found counts as gone.
    func scan(_ each: (String, Stamp) -> Void) throws(VaultError) {
        // Not a duplicate: the place in a folder is shared by all that are.
        let start = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard start >= 0 else { throw failure("list", VaultPath(trusted: ".")) }
        try scan(start, prefix: "", depth: 0, each)
    }

    private func scan(
        _ folder: Int32, prefix: String, depth: Int, _ each: (String, Stamp) -> Void
    ) throws(VaultError) {
        guard depth < 64 else {
            close(folder)
            return
        }
        guard let stream = fdopendir(folder) else {
            let error = failure("list", VaultPath(trusted: prefix))
            close(folder)
            throw error
        }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw failure("list", VaultPath(trusted: prefix)) }
                return
            }
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let name, VaultPath.isVisible(name) else { continue }
            var status = stat()
            guard fstatat(dirfd(stream), name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                let inner = openat(dirfd(stream), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                // What may not be read, or has gone meanwhile, has nothing to show.
                guard inner >= 0 || [EACCES, ENOENT, ENOTDIR, ELOOP].contains(errno) else {
                    throw failure("list", VaultPath(trusted: prefix + name))
                }
                if inner >= 0 { try scan(inner, prefix: prefix + name + "/", depth: depth + 1, each) }
            } else if status.st_mode & S_IFMT == S_IFREG {
                if access.sees(prefix + name) { each(prefix + name, Stamp(status)) }
            }
        }
    }

    // MARK: Writing

    /// Renames without ever replacing anything, a file or a folder.
    ///
    /// - Parameter persisting: Whether it is on disk when this returns.
    func move(_ from: VaultPath, to: VaultPath, persisting: Bool = true) throws(VaultError) {
        let source = try openFolder(from.folder, creating: false)
        defer { close(source) }
        let target = try openFolder(to.folder, creating: true)
        defer { close(target) }
        try rename(source, from.name, target, to.name, what: from, persisting: persisting)
    }

    /// Where in the vault's `.trash` a file can go.
    func freeInTrash(_ path: VaultPath) throws(VaultError) -> VaultPath {
        for attempt in 0..<10_000 {
            let place = VaultPath(trusted: ".trash/" + Self.trashName(path, attempt))
            if stamp(place) == nil { return place }
        }
        throw VaultError(.resourceExhausted, "the vault's .trash is full of '\(path.name)'; empty it")
    }

    private static func trashName(_ path: VaultPath, _ attempt: Int) -> String {
        let suffix = attempt == 0 ? "" : " \(attempt)"
        return path.isNote ? VaultPath.name(path.title, suffix + ".md") : VaultPath.name(path.name, suffix)
    }

    /// Moves the note into the vault's `.trash`, under a name that is free there; returns that name.
    func trash(_ path: VaultPath) throws(VaultError) -> String {
        let source = try openFolder(path.folder, creating: false)
        defer { close(source) }
        let trash = try openFolder(".trash", creating: true)
        defer { close(trash) }
        for attempt in 0..<10_000 {
            let name = Self.trashName(path, attempt)
            do {
                try rename(source, path.name, trash, name, what: path)
                return ".trash/" + name
            } catch where error.code == .alreadyExists { continue }
        }
        throw VaultError(.resourceExhausted, "the vault's .trash is full of '\(path.name)'; empty it")
    }

    func rename(
        _ source: Int32, _ name: String, _ target: Int32, _ newName: String, what: VaultPath, persisting: Bool = true
    ) throws(VaultError) {
        // File systems without it get the check and the rename as two steps.
        var result = knap_rename_new(source, name, target, newName)
        if result != 0, errno == EINVAL {
            var status = stat()
            if fstatat(target, newName, &status, AT_SYMLINK_NOFOLLOW) == 0 { errno = EEXIST }
            else { result = renameat(source, name, target, newName) }
        }
        // Where case does not tell names apart the file is in its own way.
        if result != 0, errno == EEXIST, isOne(source, name, target, newName) {
            result = renameat(source, name, target, newName)
        }
        // A folder takes the place of one that has nothing in it, and of no other (rename(2)).
        if result != 0, errno == EEXIST, isFolder(source, name) {
            result = renameat(source, name, target, newName)
            if result != 0 { errno = EEXIST }
        }
        guard result == 0 else {
            if errno == EEXIST { throw VaultError(.alreadyExists, "there is already a file '\(newName)'; choose another name") }
            throw failure("move", what)
        }
        guard persisting else { return }
        fsync(target)
        fsync(source)
    }

    private func isFolder(_ folder: Int32, _ name: String) -> Bool {
        defer { errno = EEXIST }
        var status = stat()
        return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Whether two names that differ in case or composition are one file's only name. Leaves EEXIST in errno where not.
    private func isOne(_ source: Int32, _ name: String, _ target: Int32, _ newName: String) -> Bool {
        defer { errno = EEXIST }
        var (old, new) = (stat(), stat())
        guard folded(name) == folded(newName), fstatat(source, name, &old, AT_SYMLINK_NOFOLLOW) == 0,
            fstatat(target, newName, &new, AT_SYMLINK_NOFOLLOW) == 0
        else { return false }
        // A file with two names has two links.
        let isFolder = old.st_mode & S_IFMT == S_IFDIR
        return old.st_dev == new.st_dev && old.st_ino == new.st_ino && (isFolder || old.st_nlink == 1)
    }

    func writeAll(_ file: Int32, _ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                return false
            }
            rest = rest.dropFirst(count)
        }
        return true
    }

    // MARK: Beneath the root

    private func openBeneath(_ path: VaultPath, _ flags: Int32) throws(VaultError) -> Int32 {
        guard access.sees(path.text) else {
            errno = ENOENT
            throw failure("open", path)
        }
        let file = openBeneath(path.text, flags)
        if file >= 0 { return file }
        throw failure("open", path)
    }

    /// openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS; where rules judge paths, with RESOLVE_NO_SYMLINKS too.
    private func openBeneath(_ path: String, _ flags: Int32) -> Int32 {
        var how: (flags: UInt64, mode: UInt64, resolve: UInt64) = (
            UInt64(flags | O_CLOEXEC), 0, 0x08 | 0x02 | (access.rules.isEmpty ? 0 : 0x04)
        )
        let file = knap_openat2(descriptor, path, &how, UInt(MemoryLayout.size(ofValue: how)))
        if file < 0, errno == ENOSYS { return openStepwise(path, flags) }
        return Int32(truncatingIfNeeded: file)
    }

    /// The same where that call is not to be had, as in a worker: folder by folder, and through no symbolic link at all.
    private func openStepwise(_ path: String, _ flags: Int32) -> Int32 {
        var folder = descriptor
        defer { if folder != descriptor { close(folder) } }
        let parts = path.split(separator: "/").map(String.init)
        for part in parts.dropLast() {
            let next = openat(folder, part, Self.pathOnly | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            // ENOTDIR is what a symbolic link gets with these flags.
            guard next >= 0, part != ".." else {
                if next >= 0 { close(next) } else if errno == ENOTDIR { errno = ELOOP }
                return -1
            }
            if folder != descriptor { close(folder) }
            folder = next
        }
        return openat(folder, parts.last ?? ".", flags | O_NOFOLLOW | O_CLOEXEC)
    }

    func openFolder(_ path: String, creating: Bool) throws(VaultError) -> Int32 {
        if path.isEmpty { return dup(descriptor) }
        let folder = openBeneath(path, O_RDONLY | O_DIRECTORY)
        if folder >= 0 { return folder }
        guard creating, errno == ENOENT else { throw failure("open", VaultPath(trusted: path)) }
        let parent = VaultPath(trusted: path)
        let above = try openFolder(parent.folder, creating: true)
        defer { close(above) }
        guard mkdirat(above, parent.name, 0o755) == 0 || errno == EEXIST else { throw failure("create", parent) }
        // What is put into a folder is no more durable than the folder.
        fsync(above)
        return try openFolder(path, creating: false)
    }

    /// The same for a hidden path whether there is a file or not.
    func demandWriting(_ path: VaultPath) throws(VaultError) {
        guard let rule = access.rule(for: path.text), rule.access < .write else { return }
        throw VaultError(
            .permissionDenied,
            "'\(path)' may not be changed: the rule \(rule.shown) forbids it; whoever runs Knap can change it, in the setting obsidian.policies")
    }

    /// A folder takes along what is in it, whether the caller sees that or not.
    func demandWriting(allOf folder: VaultPath, to place: VaultPath) throws(VaultError) {
        if access.rules.isEmpty { return }
        var isAllowed = true
        try VaultFiles(root: root).scan { path, _ in
            guard path.hasPrefix(folder.text + "/") else { return }
            let new = place.text + path.dropFirst(folder.text.count)
            isAllowed = isAllowed && access.level(of: path) == .write && access.level(of: new) == .write
        }
        guard isAllowed else {
            throw VaultError(
                .permissionDenied,
                "the folder '\(folder)' may not be moved as a whole, because not all that is in it may be changed; move its notes one by one")
        }
    }

    func failure(_ action: String, _ path: VaultPath) -> VaultError {
        let number = errno
        switch number {
        case ENOENT: return VaultError(.notFound, "there is no '\(path)' in the vault")
        case EXDEV: return VaultError(.permissionDenied, "'\(path)' leads out of the vault through a symbolic link; it is not followed")
        case ELOOP: return VaultError(.permissionDenied, "'\(path)' leads through symbolic links that are not followed, or go round in circles")
        case ENOSPC, EDQUOT: return VaultError(.resourceExhausted, "the disk is full: '\(path)' was not written and is as it was")
        case EROFS, EACCES, EPERM: return VaultError(.permissionDenied, "no permission to \(action) '\(path)': \(Self.reason(number))")
        default: return VaultError(.internal, "could not \(action) '\(path)': \(Self.reason(number))")
        }
    }

    private static func reason(_ number: Int32) -> String { String(cString: strerror(number)) }
}

extension VaultFiles.Stamp {
    init(_ status: stat) {
        self.init(
            size: Int64(status.st_size),
            modifiedNs: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec),
            inode: UInt64(status.st_ino))
    }
}
