import CCrypto

/// Checks signatures: an Ed25519 public key (RFC 8032), by OpenSSL's libcrypto.
package struct PublicKey: Sendable, Hashable {
    /// 32 bytes.
    let bytes: [UInt8]

    static let size = 32
    static let signatureSize = 64

    init?(bytes: [UInt8]) {
        guard bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }

    /// Reads a `PUBLIC KEY` in PEM (RFC 8410); `name` is what messages call it.
    package init(pem: [UInt8], name: String) throws(KeyError) {
        let key = withMemory(pem) { PEM_read_bio_PUBKEY($0, nil, noPassword, nil) }
        guard let key else {
            throw KeyError(
                message: "\(name) is not a public key in PEM; 'knap plugins keygen FILE' writes one to FILE.pub")
        }
        defer { EVP_PKEY_free(key) }
        try self.init(key, name: name)
    }

    fileprivate init(_ key: OpaquePointer, name: String) throws(KeyError) {
        var bytes = [UInt8](repeating: 0, count: Self.size)
        var count = bytes.count
        guard EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519, EVP_PKEY_get_raw_public_key(key, &bytes, &count) == 1,
            count == Self.size
        else { throw KeyError(message: "\(name) is not an Ed25519 key; 'knap plugins keygen' makes one") }
        self.bytes = bytes
    }

    /// The `SubjectPublicKeyInfo` of RFC 8410, which for Ed25519 always begins with the same bytes.
    private var encoded: [UInt8] {
        [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00] + bytes
    }

    /// What people compare: SHA-256 of the key in DER, as `openssl pkey -pubin -outform DER | sha256sum` prints it.
    package var fingerprint: Digest { SHA256.digest(encoded) }

    package var pem: String {
        let key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, bytes, bytes.count)
        defer { EVP_PKEY_free(key) }
        return text { PEM_write_bio_PUBKEY($0, key) }
    }

    /// Whether the holder of the private key signed this very message.
    func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        defer { ERR_clear_error() }
        guard signature.count == Self.signatureSize,
            let key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, bytes, bytes.count)
        else { return false }
        defer { EVP_PKEY_free(key) }
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        return EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }
}

/// Signs: an Ed25519 private key. It is never printed; `pem` is for the file that its owner keeps.
package final class SigningKey {
    private let key: OpaquePointer
    package let publicKey: PublicKey

    /// A new key, from the system's randomness.
    package convenience init() throws(KeyError) {
        let context = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nil)
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_keygen(context, &key) == 1, let key else {
            throw KeyError(message: "libcrypto could not make a key")
        }
        try self.init(key, name: "the new key")
    }

    /// Reads a private key in PEM (PKCS #8); `name` is what messages call it.
    package convenience init(pem: [UInt8], name: String) throws(KeyError) {
        let key = withMemory(pem) { PEM_read_bio_PrivateKey($0, nil, noPassword, nil) }
        guard let key else {
            throw KeyError(
                message: "\(name) is not a private key in PEM without a password; 'knap plugins keygen' makes one, "
                    + "'openssl pkey' takes a password off")
        }
        try self.init(key, name: name)
    }

    /// Takes the key over.
    private init(_ key: OpaquePointer, name: String) throws(KeyError) {
        do throws(KeyError) { publicKey = try PublicKey(key, name: name) } catch {
            EVP_PKEY_free(key)
            throw error
        }
        self.key = key
    }

    deinit { EVP_PKEY_free(key) }

    /// `PRIVATE KEY` (PKCS #8), unencrypted: for a file of mode 0600.
    package var pem: String { text { PEM_write_bio_PKCS8PrivateKey($0, key, nil, nil, 0, nil, nil) } }

    func signature(of message: [UInt8]) throws(KeyError) -> [UInt8] {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        var signature = [UInt8](repeating: 0, count: PublicKey.signatureSize)
        var count = signature.count
        guard EVP_DigestSignInit(context, nil, nil, nil, key) == 1,
            EVP_DigestSign(context, &signature, &count, message, message.count) == 1, count == signature.count
        else { throw KeyError(message: "libcrypto could not sign") }
        return signature
    }
}

/// Why a key cannot be used.
package struct KeyError: Error, Sendable, CustomStringConvertible {
    package let message: String
    package var description: String { message }
}

/// Refuses: without it libcrypto would ask for a password on the terminal, or wait for one that nobody types.
private let noPassword: @convention(c) (UnsafeMutablePointer<CChar>?, CInt, CInt, UnsafeMutableRawPointer?) -> CInt = {
    _, _, _, _ in -1
}

/// Has libcrypto read bytes.
private func withMemory(_ bytes: [UInt8], _ read: (OpaquePointer) -> OpaquePointer?) -> OpaquePointer? {
    defer { ERR_clear_error() }
    guard !bytes.isEmpty, bytes.count <= 1 << 16 else { return nil }
    return bytes.withUnsafeBytes { buffer in
        guard let memory = BIO_new_mem_buf(buffer.baseAddress, CInt(buffer.count)) else { return nil }
        defer { BIO_free(memory) }
        return read(memory)
    }
}

/// The text that libcrypto writes.
private func text(_ write: (OpaquePointer) -> CInt) -> String {
    // Memory is all that these calls can want, and a Swift process has no other answer to that.
    guard let memory = BIO_new(BIO_s_mem()) else { fatalError("libcrypto has no memory") }
    defer { BIO_free(memory) }
    guard write(memory) == 1 else { fatalError("libcrypto has no memory") }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = BIO_read(memory, &bytes, CInt(bytes.count))
    return String(decoding: bytes.prefix(Int(max(count, 0))), as: UTF8.self)
}
