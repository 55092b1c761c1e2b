import KnapJSON

/// The id of a request: a string or an integer, answered exactly as it was sent.
package struct RequestID: Sendable, Hashable {
    package let json: JSON

    init(string: String) { json = .string(string) }

    /// Nil for what JSON-RPC 2.0 and MCP do not take as an id: null, fractions, anything else.
    package init?(_ json: JSON?) {
        switch json {
        case .string?: break
        case .number(let number)?:
            // The text decides, so that a 40-digit id is as good as a short one.
            guard number.text.utf8.allSatisfy({ $0 == UInt8(ascii: "-") || (0x30...0x39).contains($0) }) else {
                return nil
            }
        default: return nil
        }
        guard let json else { return nil }
        self.json = json
    }
}
