import Glibc

/// The secret that HTTP clients of this host send.
///
/// `KNAP_TOKEN` wins, for operators who hand out their own; else the state directory's file; else it is made at the
/// first start: 32 bytes from the kernel, in base64url (RFC 4648 §5) so that it fits a URL and a header unquoted.
package enum AccessToken {
    package static func obtain(
        _ directory: StateDirectory,
        environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }
    ) throws(StateDirectoryError) -> String {
        if let given = environment("KNAP_TOKEN"), !given.isEmpty { return given }
        if let kept = try read(directory.token) { return kept }
        let made = try make(directory.token)
        try write(made, to: directory.token)
        return made
    }

    /// Nil when there is no such file or it is empty, which a crash during an older first start can leave.
    private static func read(_ path: String) throws(StateDirectoryError) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw .system(errno, "read", path)
        }
        defer { close(descriptor) }
        // Copied or restored files may have lost their mode.
        guard fchmod(descriptor, 0o600) == 0 else { throw .system(errno, "make private", path) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        guard count >= 0 else { throw .system(errno, "read", path) }
        let token = bytes[..<count].prefix { $0 > 0x20 && $0 < 0x7f }
        return token.isEmpty ? nil : String(decoding: token, as: UTF8.self)
    }

    private static func make(_ path: String) throws(StateDirectoryError) -> String {
        var bytes = [UInt8](repeating: 0, count: 32)
        guard getentropy(&bytes, bytes.count) == 0 else { throw .system(errno, "make a token for", path) }
        return base64URL(bytes)
    }

    private static func write(_ token: String, to path: String) throws(StateDirectoryError) {
        let part = path + ".part"
        let descriptor = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(errno, "create", part) }
        defer { close(descriptor) }
        var line = token + "\n"
        let written = line.withUTF8 { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written == line.utf8.count, fsync(descriptor) == 0 else {
            let number = written >= 0 && written < line.utf8.count ? ENOSPC : errno
            unlink(part)
            throw .system(number, "write", path)
        }
        guard rename(part, path) == 0 else { throw .system(errno, "write", path) }
    }

    static func base64URL(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var text: [UInt8] = []
        var pending: UInt32 = 0
        var bits = 0
        for byte in bytes {
            pending = pending << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                text.append(alphabet[Int(pending >> UInt32(bits)) & 63])
            }
        }
        if bits > 0 { text.append(alphabet[Int(pending << UInt32(6 - bits)) & 63]) }
        return String(decoding: text, as: UTF8.self)
    }
}
