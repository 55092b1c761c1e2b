/// The type and subtype of a `Content-Type`, in lower case and without parameters (RFC 9110, section 8.3.1).
package struct MediaType: Sendable, Hashable {
    static let json = MediaType(checked: "application/json")

    /// Such as `application/json`.
    package let name: String

    /// Nil unless the text has a type and a subtype of the characters that they may have, and nothing that could end
    /// the header.
    package init?(_ text: String) {
        name = String(text.prefix { $0 != ";" }).trimmingSpaces.lowercased()
        let parts = name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let isPlain = text.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == UInt8(ascii: "\t") }
        guard isPlain, parts.count == 2, parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(Self.isTokenByte) }) else {
            return nil
        }
    }

    private init(checked name: String) { self.name = name }

    /// RFC 9110, section 5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    /// Whether its bodies are JSON (RFC 6839, section 3.1).
    var isJSON: Bool { self == .json || name.hasSuffix("+json") }
    var isText: Bool { name.hasPrefix("text/") }
}
