import CCrypto

/// The name of a content: its SHA-256.
package struct Digest: Sendable, Hashable, CustomStringConvertible {
    package static let size = 32
    package let bytes: [UInt8]

    package init?(_ hex: String) {
        let digits = hex.utf8.compactMap { Self.value(of: $0) }
        guard digits.count == 2 * Self.size, hex.utf8.count == digits.count else { return nil }
        bytes = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// 64 lower-case hexadecimal digits.
    package var description: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

/// SHA-256 over bytes that come in pieces, computed by OpenSSL's libcrypto.
struct SHA256: ~Copyable {
    private let context: OpaquePointer

    init() {
        // Allocation is the only way for either call to fail, and a Swift process has no other answer to that.
        guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
            fatalError("libcrypto has no memory for SHA-256")
        }
        self.context = context
    }

    deinit { EVP_MD_CTX_free(context) }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        _ = EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    consuming func finish() -> Digest {
        var bytes = [UInt8](repeating: 0, count: Digest.size)
        _ = EVP_DigestFinal_ex(context, &bytes, nil)
        return Digest(bytes: bytes)
    }

    static func digest(_ bytes: [UInt8]) -> Digest {
        var hash = SHA256()
        bytes.withUnsafeBytes { hash.update($0) }
        return hash.finish()
    }
}
