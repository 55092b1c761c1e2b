// Strings: the part of the parser that sees most bytes.
extension JSONParser {
    /// At the opening quote. Without escapes, which is usual, the bytes are copied once.
    mutating func parseString() throws(JSONParseError) -> String {
        offset += 1
        let start = offset
        var isASCII = true
        while true {
            skipPlain()
            guard offset < bytes.count else { throw error(.unexpectedEnd, "the text ends within a string", at: start - 1) }
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                let text = isASCII ? plain(start..<offset) : try utf8(start..<offset)
                offset += 1
                return text
            case UInt8(ascii: "\\"): return try parseEscapedString(from: start)
            case 0..<0x20: throw error(.invalidString, "a control character in a string must be escaped")
            default:
                isASCII = false
                offset += 1
            }
        }
    }

    /// Goes on to the first byte that is not simply part of an ASCII text: a quote, a backslash, a control character or one
    /// past ASCII. Eight at a time (Hacker's Delight, section 6-1: a byte of zero, or below n, sets its highest bit).
    private mutating func skipPlain() {
        let ones: UInt64 = 0x0101_0101_0101_0101, high: UInt64 = 0x8080_8080_8080_8080
        while offset + 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            let quote = word ^ (ones &* 0x22), backslash = word ^ (ones &* 0x5C)
            let found = (quote &- ones) & ~quote | (backslash &- ones) & ~backslash | (word &- (ones &* 0x20)) & ~word | word
            // The lowest mark is exact; borrows make false ones only above it.
            let marks = found & high
            if marks != 0 {
                offset += marks.trailingZeroBitCount / 8
                return
            }
            offset += 8
        }
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte < 0x20 || byte >= 0x80 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return }
            offset += 1
        }
    }

    /// The text of bytes that are known to be UTF-8.
    func plain(_ range: Range<Int>) -> String {
        String(decoding: UnsafeRawBufferPointer(rebasing: bytes[range]).assumingMemoryBound(to: UInt8.self), as: UTF8.self)
    }

    private func utf8(_ range: Range<Int>) throws(JSONParseError) -> String {
        let part = UnsafeRawBufferPointer(rebasing: bytes[range]).assumingMemoryBound(to: UInt8.self)
        guard let text = String(validating: part, as: UTF8.self) else {
            throw error(.invalidUTF8, "the string is not UTF-8", at: range.lowerBound)
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
