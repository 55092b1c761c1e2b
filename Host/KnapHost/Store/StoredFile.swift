import CLinux
import Glibc

/// What tells one state of a file from another without reading it.
///
/// The change time belongs to it: modification times can be set back, change times cannot.
package struct FileStamp: Sendable, Hashable {
    package let device: UInt64
    package let inode: UInt64
    package let size: Int
    package let modified: Int64
    package let changed: Int64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int(status.st_size)
        modified = Self.nanoseconds(status.st_mtim)
        changed = Self.nanoseconds(status.st_ctim)
    }

    fileprivate static func nanoseconds(_ time: timespec) -> Int64 {
        Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

extension FileStamp {
    /// How long nobody has written the file; negative when the clock was set back since.
    var age: Duration {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return .nanoseconds(Self.nanoseconds(now) - max(changed, modified))
    }

    /// Long enough ago that a write in the same tick of the clock would have shown (git's "racy" entries).
    var isSettled: Bool { age > .milliseconds(100) }
}

/// An open regular file.
struct StoredFile: ~Copyable {
    let path: String
    let descriptor: CInt

    /// Opens a regular file for reading; without blocking, because a FIFO would.
    init(reading path: String) throws(StoreError) {
        try self.init(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), path)
    }

    /// Opens a file of a folder and nothing outside of it.
    init(beneath folder: CInt, _ file: String, path: String) throws(StoreError) {
        try self.init(knap_open_beneath(folder, file, 0), path)
    }

    private init(_ descriptor: CInt, _ path: String) throws(StoreError) {
        guard descriptor >= 0 else { throw .system(.input, "it cannot be opened", path) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw StoreError(code: .input, message: "\(path): it is not a regular file")
        }
        self.path = path
        self.descriptor = descriptor
    }

    /// Creates a file that nobody else has.
    init(creating path: String, mode: mode_t) throws(StoreError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw .system(.output, "it cannot be created", path) }
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    func status() throws(StoreError) -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system(.input, "its size cannot be read", path) }
        return status
    }

    func stamp() throws(StoreError) -> FileStamp { FileStamp(try status()) }

    /// Hands the content on in pieces, from the start: all of it, or the library in it, as it was before it was signed.
    func forEachChunk(
        of layout: SignedLayout? = nil, _ body: (UnsafeRawBufferPointer) throws(StoreError) -> Void
    ) throws(StoreError) {
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
        defer { chunk.deallocate() }
        var offset: off_t = 0
        while true {
            let wanted = min(chunk.count, layout.map { $0.librarySize - Int(offset) } ?? chunk.count)
            let count = pread(descriptor, chunk.baseAddress, wanted, offset)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system(.input, "it cannot be read", path) }
            if count == 0 { return }
            let piece = UnsafeMutableRawBufferPointer(rebasing: chunk[..<count])
            layout?.restore(piece, at: Int(offset))
            try body(UnsafeRawBufferPointer(piece))
            offset += off_t(count)
        }
    }

    func digest(of layout: SignedLayout? = nil) throws(StoreError) -> Digest {
        var hash = SHA256()
        try forEachChunk(of: layout) { hash.update($0) }
        return hash.finish()
    }

    /// Fails when anything was done to the file meanwhile.
    func checkUnchanged(since stamp: FileStamp) throws(StoreError) {
        guard try self.stamp() == stamp else {
            throw StoreError(code: .notStable, message: "\(path): it changed while it was read; it is tried again")
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system(.output, "it cannot be written", path) }
            rest = rest.dropFirst(count)
        }
    }

    func write(_ bytes: [UInt8]) throws(StoreError) {
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(StoreError) in try write(buffer) }
        }
        try result.get()
    }

    func synchronize() throws(StoreError) {
        guard fsync(descriptor) == 0 else { throw .system(.output, "it cannot be made durable", path) }
    }

    /// The whole content, up to `limit` bytes.
    func content(limit: Int) throws(StoreError) -> [UInt8] {
        var bytes: [UInt8] = []
        try forEachChunk { (chunk) throws(StoreError) in
            guard bytes.count + chunk.count <= limit else {
                throw StoreError(code: .tooLarge, message: "\(path): it has more than \(limit) bytes")
            }
            bytes.append(contentsOf: chunk)
        }
        return bytes
    }
}

/// A file that is written aside and takes its place at once; when that does not come about nothing is left of it.
final class StoredFileReplacement {
    let file: StoredFile
    private let path: String
    private let step: String
    private var isCommitted = false

    /// `step` is what death points call it.
    init(_ path: String, mode: mode_t, step: String = "file") throws(StoreError) {
        self.path = path
        self.step = step
        file = try StoredFile(creating: "\(path).\(getpid()).\(UInt64.random(in: .min ... .max)).tmp", mode: mode)
        DeathPoint.reached("\(step)-created")
    }

    deinit { if !isCommitted { unlink(file.path) } }

    /// Durable when it returns: the content before the name, the name before the answer.
    func commit() throws(StoreError) {
        DeathPoint.reached("\(step)-filled")
        try file.synchronize()
        DeathPoint.reached("\(step)-written")
        guard rename(file.path, path) == 0 else { throw .system(.output, "it cannot be put in place", path) }
        isCommitted = true
        DeathPoint.reached("\(step)-renamed")
        try StoreDirectory.synchronize(directoryOf: path)
        DeathPoint.reached("\(step)-durable")
    }
}

enum StoreDirectory {
    /// Removes what a host that was killed left half-written in the directory and in those in it.
    static func removeUnfinished(in directory: String) {
        for name in readDirectory(directory) ?? [] where !name.hasPrefix(".") {
            if name.hasSuffix(".tmp") { DirectoryTree.remove("\(directory)/\(name)") }
            for inner in readDirectory("\(directory)/\(name)") ?? [] where inner.hasSuffix(".tmp") {
                DirectoryTree.remove("\(directory)/\(name)/\(inner)")
            }
        }
    }

    /// The same in a drop directory, which is the operator's: only what has such a name as only the host gives.
    static func removeParts(in directory: String) {
        for name in readDirectory(directory) ?? [] where name.hasPrefix(".part-") { DirectoryTree.remove("\(directory)/\(name)") }
    }

    static func create(_ path: String) throws(StoreError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw .system(.output, "it cannot be created", path) }
    }

    static func synchronize(directoryOf path: String) throws(StoreError) {
        let end = path.lastIndex(of: "/") ?? path.startIndex
        let directory = end == path.startIndex ? "." : String(path[..<end])
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(.output, "it cannot be opened", directory) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system(.output, "it cannot be made durable", directory) }
    }
}
