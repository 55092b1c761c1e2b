import Crypto

/// Signs what clients keep for the server, so that it needs to remember nothing: session ids, and the state of requests
/// that wait for input.
///
/// HMAC-SHA256 over the purpose and the text. The text is not secret, only safe from change.
package struct Seal: Sendable {
    private let key: SymmetricKey

    /// - Parameter key: At least 32 random bytes, kept over restarts so that what was signed before stays good.
    package init(key: [UInt8]) { self.key = SymmetricKey(data: key) }

    /// The text and its signature in letters, digits, `-`, `_` and one dot.
    ///
    /// - Parameter purpose: What it is good for; the same text does not open for another.
    package func close(_ text: [UInt8], for purpose: String) -> String {
        let tag = Self.message(text, purpose).withUnsafeBytes { HMAC<SHA256>.authenticationCode(for: $0, using: key) }
        return Base64.encodeForURL(text) + "." + Base64.encodeForURL(Array(tag))
    }

    /// The text, if it was signed here for this purpose and not changed since.
    package func open(_ sealed: String, for purpose: String) -> [UInt8]? {
        let parts = sealed.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 2, let text = Base64.decodeFromURL(parts[0]), let tag = Base64.decodeFromURL(parts[1])
        else { return nil }
        // Compares in constant time.
        let isGood = Self.message(text, purpose).withUnsafeBytes {
            HMAC<SHA256>.isValidAuthenticationCode(tag, authenticating: $0, using: key)
        }
        return isGood ? text : nil
    }

    private static func message(_ text: [UInt8], _ purpose: String) -> [UInt8] { Array(purpose.utf8) + [0] + text }
}
