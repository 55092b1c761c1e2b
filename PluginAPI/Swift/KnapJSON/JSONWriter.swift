/// How a value is laid out as text.
public enum JSONStyle: Sendable {
    /// Without white space.
    case compact
    /// Indented by two spaces, for people.
    case pretty
}

extension JSON {
    /// The value as JSON text.
    public func serialized(_ style: JSONStyle = .compact) -> String {
        var bytes: [UInt8] = []
        write(into: &bytes, style: style)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the value as JSON text in UTF-8.
    public func write(into bytes: inout [UInt8], style: JSONStyle = .compact) {
        write(into: &bytes, indent: style == .pretty ? 0 : nil)
    }

    private func write(into bytes: inout [UInt8], indent: Int?) {
        switch self {
        case .null: bytes += "null".utf8
        case .bool(let value): bytes += (value ? "true" : "false").utf8
        case .number(let number): bytes += number.text.utf8
        case .string(let text): Self.write(text, into: &bytes)
        case .array(let elements):
            Self.write("[", "]", elements, into: &bytes, indent: indent) { element, bytes, inner in
                element.write(into: &bytes, indent: inner)
            }
        case .object(let object):
            Self.write("{", "}", object.members, into: &bytes, indent: indent) { member, bytes, inner in
                Self.write(member.name, into: &bytes)
                bytes.append(UInt8(ascii: ":"))
                if inner != nil { bytes.append(0x20) }
                member.value.write(into: &bytes, indent: inner)
            }
        }
    }

    private static func write<T>(
        _ open: Unicode.Scalar, _ close: Unicode.Scalar, _ parts: [T], into bytes: inout [UInt8], indent: Int?,
        _ each: (T, inout [UInt8], Int?) -> Void
    ) {
        bytes.append(UInt8(ascii: open))
        let inner = indent.map { $0 + 1 }
        for (place, part) in parts.enumerated() {
            if place > 0 { bytes.append(UInt8(ascii: ",")) }
            newLine(&bytes, inner)
            each(part, &bytes, inner)
        }
        if !parts.isEmpty { newLine(&bytes, indent) }
        bytes.append(UInt8(ascii: close))
    }

    private static func newLine(_ bytes: inout [UInt8], _ indent: Int?) {
        guard let indent else { return }
        bytes.append(0x0A)
        bytes += repeatElement(0x20, count: indent * 2)
    }

    /// Runs of bytes that need no escape are copied whole.
    private static func write(_ text: String, into bytes: inout [UInt8]) {
        var text = text
        bytes.append(UInt8(ascii: "\""))
        text.withUTF8 { utf8 in
            var start = 0
            for (place, byte) in utf8.enumerated()
            where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                bytes += utf8[start..<place]
                writeEscape(byte, into: &bytes)
                start = place + 1
            }
            bytes += utf8[start...]
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func writeEscape(_ byte: UInt8, into bytes: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "\""): bytes += #"\""#.utf8
        case UInt8(ascii: "\\"): bytes += #"\\"#.utf8
        case 0x0A: bytes += #"\n"#.utf8
        case 0x0D: bytes += #"\r"#.utf8
        case 0x09: bytes += #"\t"#.utf8
        default:
            let hex = Array("0123456789abcdef".utf8)
            bytes += #"\u00"#.utf8
            bytes += [hex[Int(byte >> 4)], hex[Int(byte & 15)]]
        }
    }
}
