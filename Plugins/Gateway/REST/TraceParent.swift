/// The header that joins a request to its caller's trace (W3C Trace Context, section 3.2).
package enum TraceParent {
    /// The value, if it is one; what is malformed is ignored, as section 4.3 says.
    package static func valid(_ values: [String]) -> String? {
        guard values.count == 1, let value = values.first?.trimmingSpaces else { return nil }
        let parts = value.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count >= 4, zip(parts, [2, 32, 16, 2]).allSatisfy({ $0.count == $1 && $0.allSatisfy(isDigit) })
        else {
            return nil
        }
        // Later versions may have more fields; ff is none.
        let version = String(decoding: parts[0], as: UTF8.self)
        guard version != "ff", version != "00" || parts.count == 4, value.utf8.count <= 256 else { return nil }
        guard parts[1...2].allSatisfy({ $0.contains { $0 != UInt8(ascii: "0") } }) else { return nil }
        return value
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): true
        default: false
        }
    }
}
