import Glibc

/// The lock that makes a host the only one on its state directory. Held while the value lives.
///
/// `flock` rather than a file's existence: the kernel lets go of it however the process ends, so no start ever has to
/// guess whether a lock is stale.
package struct StateLock: ~Copyable, Sendable {
    private let descriptor: Int32

    /// Takes the lock at once or fails with `inUse`.
    package init(_ directory: StateDirectory) throws(StateDirectoryError) {
        let path = directory.lock
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(errno, "open the lock", path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            defer { close(descriptor) }
            guard number == EWOULDBLOCK else { throw .system(number, "lock", path) }
            throw .inUse(by: Self.holder(descriptor), path: directory.path)
        }
        do {
            try Self.write(getpid(), to: descriptor, path)
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// The process id of the host that has the directory; nil when it is free.
    package static func holder(of directory: StateDirectory) -> Int32? {
        let descriptor = open(directory.lock, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_SH | LOCK_NB) != 0 else { return nil }
        return holder(descriptor)
    }

    private static func write(_ pid: Int32, to descriptor: Int32, _ path: String) throws(StateDirectoryError) {
        var text = "\(pid)\n"
        let written = text.withUTF8 { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        guard written == text.utf8.count, ftruncate(descriptor, written) == 0 else {
            throw .system(written < 0 ? errno : ENOSPC, "write", path)
        }
    }

    private static func holder(_ descriptor: Int32) -> Int32? {
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        guard count > 0 else { return nil }
        return Int32(String(decoding: bytes[..<count].prefix { $0 != 10 }, as: UTF8.self))
    }
}
