import KnapJSON

/// Finds the id of a request that cannot be read as JSON, so that its sender learns which of its requests failed: with a
/// null instead it would wait for the answer (JSON-RPC 2.0, section 5.1, allows null only for an id that is unreadable).
///
/// Only quotes, brackets and the top level's names are looked at, whatever else is wrong.
struct BrokenMessage {
    private let bytes: [UInt8]
    private var offset = 0
    private var depth = 0

    /// Nil also where there are two ids, and in what asks nothing.
    static func requestID(in bytes: [UInt8]) -> RequestID? {
        var message = BrokenMessage(bytes: bytes)
        return message.find()
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private mutating func find() -> RequestID? {
        var ids: [ArraySlice<UInt8>] = []
        var isRequest = false
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { offset = 3 }
        while offset < bytes.count {
            switch bytes[offset] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "\""):
                let text = string()
                guard depth == 1, isName() else { continue }
                if text.elementsEqual(#""method""#.utf8) { isRequest = true }
                if text.elementsEqual(#""id""#.utf8) { ids.append(scalar()) }
                continue
            default: if depth == 0, !isSpace(bytes[offset]) { return nil }
            }
            offset += 1
            if depth == 0 { break }
        }
        guard isRequest, ids.count == 1 else { return nil }
        return RequestID(try? JSON.parse(Array(ids[0])))
    }

    /// From quote to quote, and past it.
    private mutating func string() -> ArraySlice<UInt8> {
        let start = offset
        offset += 1
        while offset < bytes.count, bytes[offset] != UInt8(ascii: "\"") {
            offset += bytes[offset] == UInt8(ascii: "\\") ? 2 : 1
        }
        offset = min(offset + 1, bytes.count)
        return bytes[start..<offset]
    }

    /// Whether a colon follows, which is passed.
    private mutating func isName() -> Bool {
        skipSpace()
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: ":") else { return false }
        offset += 1
        skipSpace()
        return true
    }

    private mutating func scalar() -> ArraySlice<UInt8> {
        guard offset < bytes.count, bytes[offset] != UInt8(ascii: "\"") else { return string() }
        let start = offset
        while offset < bytes.count, !isSpace(bytes[offset]), !",{}[]\"".utf8.contains(bytes[offset]) { offset += 1 }
        return bytes[start..<offset]
    }

    private mutating func skipSpace() { while offset < bytes.count, isSpace(bytes[offset]) { offset += 1 } }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
}
