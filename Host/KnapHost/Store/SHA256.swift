import CCrypto

/// The name of a content: its SHA-256.
package struct Digest: Sendable, Hashable, CustomStringConvertible {
    package static let size = 32
    package let bytes: [UInt8]

    package init?(_ hex: String) {
        guard let bytes = Hexadecimal.bytes(hex), bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// 64 lower-case hexadecimal digits.
    package var description: String { Hexadecimal.text(bytes) }
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
