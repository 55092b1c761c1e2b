import Glibc

/// Copies and removes whole directories in which somebody else may still be writing.
///
/// Every step starts from an open directory and follows no symbolic link, so nothing outside is ever read or removed.
/// All calls block on the disk.
enum DirectoryTree {
    private static let deepest = 64
    /// What an entry costs besides its content, so that empty files are bounded too.
    private static let perEntry = 4096

    /// Copies files, directories and links, by sharing their blocks where the file system can; sockets, pipes and devices
    /// are left out. On disk when it returns. Fails when more than `limit` bytes would have to be written.
    static func copy(_ source: String, to target: String, limit: Int) throws(StoreError) {
        let from = try OpenDirectory(source)
        guard mkdir(target, 0o700) == 0 else { throw .system(.output, "it cannot be created", target) }
        let to = try OpenDirectory(target)
        var budget = limit
        try copy(from, to, depth: 0, &budget)
        try StoreDirectory.synchronize(directoryOf: target)
    }

    private static func copy(
        _ from: borrowing OpenDirectory, _ to: borrowing OpenDirectory, depth: Int, _ budget: inout Int
    ) throws(StoreError) {
        guard depth < deepest else {
            throw StoreError(code: .tooLarge, message: "\(from.path): it is more than \(deepest) directories deep")
        }
        for name in try from.names() {
            try charge(perEntry, &budget, from.path)
            var status = stat()
            guard fstatat(from.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
                if errno == ENOENT { continue }  // removed since it was listed
                throw .system(.input, "an entry cannot be read", from.path)
            }
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                let inner = try OpenDirectory(name, in: from)
                guard mkdirat(to.descriptor, name, status.st_mode & 0o7777 | 0o700) == 0 else {
                    throw .system(.output, "a directory cannot be created", to.path)
                }
                let made = try OpenDirectory(name, in: to)
                fchown(made.descriptor, status.st_uid, status.st_gid)
                try copy(inner, made, depth: depth + 1, &budget)
            case S_IFREG: try copyFile(name, from, to, &budget)
            case S_IFLNK: try copyLink(name, from, to)
            default: break
            }
        }
        guard fsync(to.descriptor) == 0 else { throw .system(.output, "it cannot be made durable", to.path) }
    }

    private static func copyFile(
        _ name: [CChar], _ from: borrowing OpenDirectory, _ to: borrowing OpenDirectory, _ budget: inout Int
    ) throws(StoreError) {
        let source = openat(from.descriptor, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0)
        guard source >= 0 else { throw .system(.input, "a file cannot be opened", from.path) }
        defer { close(source) }
        var status = stat()
        guard fstat(source, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw StoreError(code: .notStable, message: "\(from.path): its entries change while they are copied")
        }
        let target = openat(to.descriptor, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard target >= 0 else { throw .system(.output, "a file cannot be created", to.path) }
        defer { close(target) }
        let ficlone: UInt = 0x4004_9409
        if ioctl(target, ficlone, source) != 0 {
            try charge(Int(status.st_size), &budget, from.path)
            try copyBytes(source, target, to.path)
        }
        // An owner that cannot be kept is the host's own, as for every plugin that is not isolated by user.
        fchown(target, status.st_uid, status.st_gid)
        fchmod(target, status.st_mode & 0o7777)
        var times = [status.st_atim, status.st_mtim]
        futimens(target, &times)
        guard fsync(target) == 0 else { throw .system(.output, "a file cannot be made durable", to.path) }
    }

    private static func copyBytes(_ source: CInt, _ target: CInt, _ path: String) throws(StoreError) {
        var chunk = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = read(source, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system(.input, "a file cannot be read", path) }
            if count == 0 { return }
            var written = 0
            while written < count {
                let step = chunk.withUnsafeBytes { write(target, $0.baseAddress?.advanced(by: written), count - written) }
                if step < 0 && errno == EINTR { continue }
                guard step > 0 else { throw .system(.output, "a file cannot be written", path) }
                written += step
            }
        }
    }

    private static func copyLink(
        _ name: [CChar], _ from: borrowing OpenDirectory, _ to: borrowing OpenDirectory
    ) throws(StoreError) {
        var text = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlinkat(from.descriptor, name, &text, Int(PATH_MAX))
        guard count >= 0 else { throw .system(.input, "a link cannot be read", from.path) }
        text[count] = 0
        guard symlinkat(text, to.descriptor, name) == 0 else { throw .system(.output, "a link cannot be made", to.path) }
    }

    private static func charge(_ bytes: Int, _ budget: inout Int, _ path: String) throws(StoreError) {
        budget -= bytes
        guard budget >= 0 else {
            throw StoreError(
                code: .tooLarge, message: "\(path): a copy of it would take more than half of the free disk; make room")
        }
    }

    /// Moves all that is in one directory into another of the same file system; on disk when it returns.
    static func moveEntries(of source: String, to target: String) throws(StoreError) {
        let from = try OpenDirectory(source), to = try OpenDirectory(target)
        for name in try from.names() {
            // What an earlier, interrupted move left under this name.
            if renameat(from.descriptor, name, to.descriptor, name) == 0 { continue }
            guard errno == EEXIST || errno == ENOTEMPTY || errno == EISDIR || errno == ENOTDIR else {
                throw .system(.output, "an entry cannot be moved", target)
            }
            if unlinkat(to.descriptor, name, 0) != 0 {
                if let inner = try? OpenDirectory(name, in: to) { empty(inner, depth: 0) }
                unlinkat(to.descriptor, name, AT_REMOVEDIR)
            }
            guard renameat(from.descriptor, name, to.descriptor, name) == 0 else {
                throw .system(.output, "an entry cannot be moved", target)
            }
        }
        guard fsync(from.descriptor) == 0, fsync(to.descriptor) == 0 else {
            throw .system(.output, "it cannot be made durable", target)
        }
    }

    /// Gives a directory and all that is in it to a user and the group of the same number. What goes meanwhile is passed over.
    static func give(_ path: String, to user: uid_t) throws(StoreError) {
        let directory = try OpenDirectory(path)
        try give(directory, to: user, depth: 0)
        guard fchown(directory.descriptor, user, user) == 0 else { throw .system(.output, "it cannot be given to user \(user)", path) }
    }

    private static func give(_ directory: borrowing OpenDirectory, to user: uid_t, depth: Int) throws(StoreError) {
        guard depth <= deepest else { return }
        for name in try directory.names() {
            var status = stat()
            guard fstatat(directory.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR, let inner = try? OpenDirectory(name, in: directory) {
                try give(inner, to: user, depth: depth + 1)
            }
            if status.st_uid == user, status.st_gid == user { continue }
            guard fchownat(directory.descriptor, name, user, user, AT_SYMLINK_NOFOLLOW) == 0 || errno == ENOENT else {
                throw .system(.output, "an entry cannot be given to user \(user)", directory.path)
            }
        }
    }

    /// Lets a group read a directory and all that is in it, and nobody but the owner write there.
    static func lend(_ path: String, to group: gid_t) throws(StoreError) { try lend(OpenDirectory(path), to: group, depth: 0) }

    private static func lend(_ directory: borrowing OpenDirectory, to group: gid_t, depth: Int) throws(StoreError) {
        guard depth <= deepest else { return }
        for name in try directory.names() {
            var status = stat()
            guard fstatat(directory.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR { try lend(OpenDirectory(name, in: directory), to: group, depth: depth + 1) }
            if status.st_mode & S_IFMT != S_IFREG || status.st_gid == group { continue }
            // The group last: whoever sees it finds the mode set.
            guard fchmodat(directory.descriptor, name, status.st_mode & 0o111 == 0 ? 0o440 : 0o550, 0) == 0,
                fchownat(directory.descriptor, name, 0, group, AT_SYMLINK_NOFOLLOW) == 0
            else { throw .system(.output, "an entry cannot be opened to its worker", directory.path) }
        }
        guard fchown(directory.descriptor, 0, group) == 0, fchmod(directory.descriptor, 0o750) == 0 else {
            throw .system(.output, "it cannot be opened to its worker", directory.path)
        }
    }

    /// What `lstat` says of all that is in a directory, by path within it; of directories with a slash at the end, itself ""
    /// with one. Bounded: of what is too much to be looked at there is a part. Nil when there is no such thing.
    static func stamps(_ path: String) -> [String: FileStamp]? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        guard let directory = try? OpenDirectory(path) else { return ["": FileStamp(status)] }
        var found = ["/": FileStamp(status)]
        collect(directory, prefix: "", depth: 0, &found)
        return found
    }

    private static func collect(
        _ directory: borrowing OpenDirectory, prefix: String, depth: Int, _ found: inout [String: FileStamp]
    ) {
        guard depth < deepest, let names = try? directory.names() else { return }
        for bytes in names where found.count < 10_000 {
            var status = stat()
            guard fstatat(directory.descriptor, bytes, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            let name = prefix + String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let isDirectory = status.st_mode & S_IFMT == S_IFDIR
            found[isDirectory ? name + "/" : name] = FileStamp(status)
            if isDirectory, let inner = try? OpenDirectory(bytes, in: directory) {
                collect(inner, prefix: name + "/", depth: depth + 1, &found)
            }
        }
    }

    /// Removes a directory with all that is in it; nothing when it is not there. What cannot be removed stays.
    static func remove(_ path: String) {
        if unlink(path) == 0 || errno == ENOENT { return }
        if let directory = try? OpenDirectory(path) { empty(directory, depth: 0) }
        rmdir(path)
    }

    private static func empty(_ directory: borrowing OpenDirectory, depth: Int) {
        guard depth <= deepest, let names = try? directory.names() else { return }
        for name in names where unlinkat(directory.descriptor, name, 0) != 0 {
            if let inner = try? OpenDirectory(name, in: directory) { empty(inner, depth: depth + 1) }
            unlinkat(directory.descriptor, name, AT_REMOVEDIR)
        }
    }
}

/// A directory held open, so that what is done in it is done there whatever becomes of its name.
struct OpenDirectory: ~Copyable {
    let descriptor: CInt
    /// For messages.
    let path: String

    init(_ path: String) throws(StoreError) {
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        self.path = path
        guard descriptor >= 0 else { throw .system(.input, "it cannot be opened", path) }
    }

    init(_ name: [CChar], in parent: borrowing OpenDirectory) throws(StoreError) {
        descriptor = openat(parent.descriptor, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0)
        path = parent.path
        guard descriptor >= 0 else { throw .system(.input, "a directory in it cannot be opened", parent.path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The names in it, terminated, as they are: they need not be text.
    func names() throws(StoreError) -> [[CChar]] {
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        guard copy >= 0, let stream = fdopendir(copy) else { throw .system(.input, "it cannot be listed", path) }
        defer { closedir(stream) }
        var names: [[CChar]] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                bytes.prefix { $0 != 0 }.map { CChar(bitPattern: $0) }
            }
            let dot = CChar(bitPattern: UInt8(ascii: "."))
            if name != [dot], name != [dot, dot] { names.append(name + [0]) }
        }
        return names
    }
}
