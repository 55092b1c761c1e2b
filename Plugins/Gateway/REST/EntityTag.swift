import Crypto

/// A validator of a representation (RFC 9110, section 8.8.3).
package struct EntityTag {
    /// Quoted, as in the header `ETag`.
    package let text: String

    /// The same bytes have the same tag in every process.
    package init(of bytes: [UInt8]) {
        text = "\"\(Base64.encodeForURL(Array(SHA256.hash(data: bytes).prefix(18))))\""
    }

    /// Whether `If-None-Match` names it: weak comparison, in a list, or `*` (section 13.1.2).
    package func isNamed(by header: String) -> Bool {
        header.split(separator: ",").contains { given in
            let given = String(given).trimmingSpaces
            return given == "*" || given == text || given == "W/" + text
        }
    }
}
