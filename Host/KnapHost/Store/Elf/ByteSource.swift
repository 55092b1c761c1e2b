import Glibc

/// Bytes at offsets: a file or, in tests, an array.
///
/// A file is read and never mapped, because a mapping of a file that another process shortens is a SIGBUS in the host.
package protocol ByteSource {
    var size: Int { get }
    /// Fewer bytes than `count` only at the end.
    func read(at offset: Int, count: Int) throws(ElfError) -> [UInt8]
}

package struct ByteArraySource: ByteSource {
    let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    package var size: Int { bytes.count }

    package func read(at offset: Int, count: Int) -> [UInt8] {
        let start = min(offset, bytes.count)
        return Array(bytes[start..<min(bytes.count, start + count)])
    }
}

/// A file that stays open, and open for someone else, for as long as it is read.
package struct FileSource: ByteSource {
    let descriptor: CInt
    package let size: Int

    package init(descriptor: CInt, size: Int) {
        self.descriptor = descriptor
        self.size = size
    }

    package func read(at offset: Int, count: Int) throws(ElfError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let read = bytes.withUnsafeMutableBytes { buffer in
                pread(descriptor, buffer.baseAddress?.advanced(by: filled), count - filled, off_t(offset + filled))
            }
            if read < 0 && errno == EINTR { continue }
            guard read >= 0 else {
                let reason = String(cString: strerror(errno))
                throw ElfError(code: .unreadable, message: "the file cannot be read: \(reason)")
            }
            if read == 0 { break }
            filled += read
        }
        bytes.removeLast(count - filled)
        return bytes
    }
}
