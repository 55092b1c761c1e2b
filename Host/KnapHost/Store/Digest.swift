import CCrypto

/// SHA-256 (FIPS 180-4), by OpenSSL.
enum Digest {
    /// In hexadecimal.
    static func sha256(_ bytes: UnsafeRawBufferPointer) -> String {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        // Cannot fail: SHA-256 is in every provider, and the buffer holds any digest.
        EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, EVP_sha256(), nil)
        let hex = Array("0123456789abcdef".utf8)
        return String(decoding: digest[..<32].flatMap { [hex[Int($0 >> 4)], hex[Int($0 & 15)]] }, as: UTF8.self)
    }

    static func sha256(_ bytes: [UInt8]) -> String { bytes.withUnsafeBytes { sha256($0) } }
}
