import CVaultShims

/// A note's version: what tells whether it is still what the caller has read.
enum ContentVersion {
    /// The first 16 bytes of the SHA-256 of the content, in hexadecimal.
    static func of(_ bytes: [UInt8]) -> String {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        // Cannot fail: SHA-256 is in every provider and the buffer is large enough.
        EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha256(), nil)
        let hex = Array("0123456789abcdef".utf8)
        return String(decoding: digest[..<16].flatMap { [hex[Int($0 >> 4)], hex[Int($0 & 15)]] }, as: UTF8.self)
    }
}
