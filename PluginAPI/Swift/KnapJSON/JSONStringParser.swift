// Strings: the part of the parser that sees most bytes.
extension JSONParser {
    /// At the opening quote. Without escapes, which is usual, the bytes are copied once.
    mutating func parseString() throws(JSONParseError) -> String {
        offset += 1
        let start = offset
        while offset < bytes.count {
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                let text = try utf8(bytes[start..<offset], at: start)
                offset += 1
                return text
            case UInt8(ascii: "\\"): return try parseEscapedString(from: start)
            case 0..<0x20: throw error(.invalidString, "a control character in a string must be escaped")
            default: offset += 1
            }
        }
        throw error(.unexpectedEnd, "the text ends within a string", at: start - 1)
    }

    private func utf8(_ slice: Slice<UnsafeRawBufferPointer>, at place: Int) throws(JSONParseError) -> String {
        guard let text = String(validating: slice, as: UTF8.self) else {
            throw error(.invalidUTF8, "the string is not UTF-8", at: place)
        }
        return text
    }

    private mutating func parseEscapedString(from start: Int) throws(JSONParseError) -> String {
        var decoded: [UInt8] = Array(bytes[start..<offset])
        while offset < bytes.count {
            let byte = bytes[offset]
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                guard let text = String(validating: decoded, as: UTF8.self) else {
                    throw error(.invalidUTF8, "the string is not UTF-8", at: start)
                }
                return text
            case UInt8(ascii: "\\"): try parseEscape(into: &decoded)
            case 0..<0x20: throw error(.invalidString, "a control character in a string must be escaped")
            default:
                decoded.append(byte)
                offset += 1
            }
        }
        throw error(.unexpectedEnd, "the text ends within a string", at: start - 1)
    }

    private mutating func parseEscape(into decoded: inout [UInt8]) throws(JSONParseError) {
        let start = offset
        offset += 1
        guard offset < bytes.count else { throw error(.unexpectedEnd, "the text ends within a string") }
        let letter = bytes[offset]
        offset += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): decoded.append(letter)
        case UInt8(ascii: "b"): decoded.append(0x08)
        case UInt8(ascii: "f"): decoded.append(0x0C)
        case UInt8(ascii: "n"): decoded.append(0x0A)
        case UInt8(ascii: "r"): decoded.append(0x0D)
        case UInt8(ascii: "t"): decoded.append(0x09)
        case UInt8(ascii: "u"): decoded += Array(String(Character(try parseUnicodeEscape(from: start))).utf8)
        default: throw error(.invalidEscape, "there is no such escape in a string", at: start)
        }
    }

    /// After `\u`. Half of a surrogate pair has no meaning of its own and is refused.
    private mutating func parseUnicodeEscape(from start: Int) throws(JSONParseError) -> Unicode.Scalar {
        let first = try parseHex(from: start)
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
            throw error(.invalidEscape, "half of a surrogate pair stands alone", at: start)
        }
        let second = try parseHex(from: start)
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw error(.invalidEscape, "half of a surrogate pair stands alone", at: start) }
        return scalar
    }

    private mutating func parseHex(from start: Int) throws(JSONParseError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard offset < bytes.count, let digit = Character(Unicode.Scalar(bytes[offset])).hexDigitValue,
                bytes[offset] < 0x80
            else { throw error(.invalidEscape, "four hexadecimal digits are expected after \\u", at: start) }
            value = value << 4 | UInt32(digit)
            offset += 1
        }
        return value
    }
}
