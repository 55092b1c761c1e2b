import Glibc
import NIOPosix

/// Small files in the state directory.
enum StateFile {
    struct Failure: Error, CustomStringConvertible {
        var path: String
        var code: Int32
        var description: String { "\(path) cannot be written: \(String(cString: strerror(code)))" }
    }

    /// The text without white space at its end; nil where there is no such file.
    static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        guard count >= 0 else { return nil }
        var text = bytes.prefix(count)
        while let last = text.last, last <= 0x20 { text.removeLast() }
        return String(decoding: text, as: UTF8.self)
    }

    /// All of the file; nil where it cannot be read.
    static func readAll(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var all: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = Glibc.read(descriptor, &part, part.count)
            guard count > 0 else { return count == 0 ? all : nil }
            all += part.prefix(count)
        }
    }

    /// Runs what may wait for the disk. Nil only while the process ends and its threads have gone.
    @discardableResult
    static func onThread<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R? {
        try? await NIOThreadPool.singleton.runIfActive(body)
    }

    /// Replaces the file at once: a reader sees the old text or the new one.
    static func write(_ text: String, to path: String, mode: mode_t) throws(Failure) {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw Failure(path: path, code: errno) }
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            written += count
        }
        let code = errno
        close(descriptor)
        guard written == bytes.count, rename(temporary, path) == 0 else {
            let failure = Failure(path: path, code: written == bytes.count ? errno : code)
            unlink(temporary)
            throw failure
        }
    }
}
