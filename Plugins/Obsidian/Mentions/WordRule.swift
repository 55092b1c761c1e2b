/// Where words begin and end.
enum WordRule {
    /// Letters, digits and their marks.
    static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x80 {
            return (0x30...0x39).contains(scalar.value) || (0x61...0x7A).contains(scalar.value | 0x20)
        }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
            .letterNumber,
            .otherNumber, .nonspacingMark, .spacingMark, .enclosingMark:
            return true
        default: return false
        }
    }

    /// Scripts that are written without blanks between words: there every place may be a border.
    static func isUnspaced(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x0E00...0x0EFF, 0x1000...0x109F, 0x1780...0x17FF, 0x3040...0x30FF, 0x3400...0x4DBF, 0x4E00...0x9FFF,
            0xF900...0xFAFF,
            0xFF66...0xFF9F, 0x1B000...0x1B16F, 0x20000...0x3FFFF:
            true
        default: false
        }
    }

    /// Whether what stands at a place of a text, UTF-8 both, is no part of longer words.
    static func isWhole(_ range: Range<Int>, in bytes: [UInt8]) -> Bool {
        guard let first = scalar(at: range.lowerBound, bytes), let last = scalar(before: range.upperBound, bytes) else {
            return false
        }
        return isBorder(last, then: scalar(at: range.upperBound, bytes)) {
            scalar(at: range.upperBound + 1, bytes)
        }
            && isBorder(first, then: scalar(before: range.lowerBound, bytes)) {
                scalar(before: range.lowerBound - 1, bytes)
            }
    }

    /// `_` joins words where it has some on both sides: it marks emphasis otherwise.
    private static func isBorder(_ edge: Unicode.Scalar, then next: Unicode.Scalar?, _ further: () -> Unicode.Scalar?)
        -> Bool
    {
        guard isWord(edge), !isUnspaced(edge), let next else { return true }
        if next == "_", let further = further() { return !isWord(further) }
        return !isWord(next)
    }

    private static func scalar(at place: Int, _ bytes: [UInt8]) -> Unicode.Scalar? {
        guard bytes.indices.contains(place) else { return nil }
        var codec = UTF8()
        var rest = bytes[place...].makeIterator()
        guard case .scalarValue(let scalar) = codec.decode(&rest) else { return nil }
        return scalar
    }

    private static func scalar(before place: Int, _ bytes: [UInt8]) -> Unicode.Scalar? {
        var start = place - 1
        while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
        return start >= 0 ? scalar(at: start, bytes) : nil
    }
}
