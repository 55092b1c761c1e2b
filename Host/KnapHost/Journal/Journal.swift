import Glibc
import KnapJSON

/// What happened, in order, one JSON value a line, on disk before `append` returns.
///
/// A crash or a power cut can leave the last line half-written: nobody was told that it is there, so the next start cuts
/// it off. A bad line with good ones after it is no torn tail but damage, and an error. One owner at a time; all calls
/// block on the disk.
package struct Journal: ~Copyable {
    package let path: String
    private var file: AppendFile
    private var length: Int
    /// A write failed and could not be undone: what is on disk is not known any more.
    private var isBroken = false

    /// What a reader of the file finds.
    package struct Recovery: Sendable, Equatable {
        package var entries: [JSON] = []
        /// Bytes of a torn last line that were cut off.
        package var discarded = 0
    }

    /// Opens the journal, or begins one, and gives its entries to `recovered`.
    package init(path: String, recovered: (Recovery) -> Void) throws(StoreError) {
        let file = try AppendFile(path: path)
        let bytes = try StoredFile(reading: path).content(limit: .max)
        let (recovery, length) = try Self.recover(bytes, path)
        if recovery.discarded > 0 {
            try file.truncate(to: length)
            try file.synchronize()
        }
        if bytes.isEmpty { try StoreDirectory.synchronize(directoryOf: path) }
        self.path = path
        self.file = file
        self.length = length
        recovered(recovery)
    }

    /// Durable when it returns; when it throws, the journal is as it was.
    package mutating func append(_ entry: JSON) throws(StoreError) {
        guard !isBroken else {
            throw StoreError(
                code: .output, message: "\(path): an earlier write failed and could not be undone; restart")
        }
        let line = Self.line(entry)
        do throws(StoreError) {
            try file.write(line)
            try file.synchronize()
        } catch {
            do throws(StoreError) { try file.truncate(to: length) } catch { isBroken = true }
            throw error
        }
        length += line.count
    }

    /// Puts `entries` in the place of all that was written: for an owner that knows what of it still matters.
    package mutating func rewrite(_ entries: [JSON]) throws(StoreError) {
        let bytes = entries.flatMap(Self.line)
        let target = try StoredFileReplacement(path, mode: 0o600, step: "journal")
        try target.file.write(bytes)
        try target.commit()
        file = try AppendFile(path: path)
        length = bytes.count
        isBroken = false
    }

    private static func line(_ entry: JSON) -> [UInt8] { Array(entry.serialized().utf8) + [UInt8(ascii: "\n")] }

    /// The entries, and how many bytes they take.
    private static func recover(_ bytes: [UInt8], _ path: String) throws(StoreError) -> (Recovery, length: Int) {
        var recovery = Recovery()
        var good = 0
        var start = 0
        var badLine: Int?
        var number = 0
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            number += 1
            if let entry = try? JSON.parse(Array(bytes[start..<end])) {
                if let badLine {
                    throw StoreError(
                        code: .corrupted,
                        message:
                            "\(path):\(badLine): the line is damaged, but lines after it are not; restore the file or "
                            + "move it away")
                }
                recovery.entries.append(entry)
                good = end + 1
            } else if badLine == nil {
                badLine = number
            }
            start = end + 1
        }
        recovery.discarded = bytes.count - good
        return (recovery, good)
    }
}

/// A file to which lines are added.
private struct AppendFile: ~Copyable {
    private let path: String
    private let descriptor: CInt

    init(path: String) throws(StoreError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .system(.output, "it cannot be opened", path) }
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    func write(_ bytes: [UInt8]) throws(StoreError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress?.advanced(by: written), buffer.count - written)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system(.output, "it cannot be written", path) }
            written += count
        }
    }

    func truncate(to length: Int) throws(StoreError) {
        guard ftruncate(descriptor, off_t(length)) == 0 else { throw .system(.output, "it cannot be cut back", path) }
    }

    func synchronize() throws(StoreError) {
        guard fdatasync(descriptor) == 0 else { throw .system(.output, "it cannot be made durable", path) }
    }
}
