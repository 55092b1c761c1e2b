extension JSONNumber: CustomStringConvertible {
    public var description: String { text }

    /// Nil when it is not whole or does not fit.
    public var int: Int? {
        if let plain = Int(text) { return plain }
        let decimal = Decimal(text)
        guard decimal.exponent >= 0, decimal.digits.utf8.count + decimal.exponent <= 20 else { return nil }
        let zeros = String(repeating: "0", count: decimal.exponent)
        return Int((decimal.isNegative ? "-" : "") + decimal.digits + zeros)
    }

    /// The nearest double; infinite when it is too large for one.
    public var double: Double { Double(text) ?? 0 }

    /// Whether it is mathematically whole, however it is written.
    public var isInteger: Bool { Decimal(text).exponent >= 0 }
}

// By mathematical value, whatever the size of number or exponent.
extension JSONNumber: Hashable {
    public static func == (left: JSONNumber, right: JSONNumber) -> Bool {
        left.text == right.text || Decimal(left.text) == Decimal(right.text)
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(Decimal(text)) }
}

extension JSONNumber: Comparable {
    public static func < (left: JSONNumber, right: JSONNumber) -> Bool { Decimal(left.text) < Decimal(right.text) }
}

/// The canonical form of a number's text: significant digits without zeros at either end, and a power of ten.
struct Decimal: Hashable, Comparable {
    var isNegative: Bool
    /// Empty for zero.
    var digits: String
    var exponent: Int

    init(_ text: String) {
        var whole: [UInt8] = []
        var exponentText: [UInt8] = []
        var fraction = 0
        var inFraction = false
        var inExponent = false
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "."): inFraction = true
            case UInt8(ascii: "e"), UInt8(ascii: "E"): inExponent = true
            case _ where inExponent: exponentText.append(byte)
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                whole.append(byte)
                if inFraction { fraction += 1 }
            default: break
            }
        }
        let significant = whole.drop { $0 == UInt8(ascii: "0") }
        let trailing = significant.reversed().prefix { $0 == UInt8(ascii: "0") }.count
        digits = String(decoding: significant.dropLast(trailing), as: UTF8.self)
        isNegative = text.utf8.first == UInt8(ascii: "-") && !digits.isEmpty
        exponent = digits.isEmpty ? 0 : Self.power(exponentText) - fraction + trailing
    }

    /// Clamped so far out that sums with it cannot overflow.
    private static func power(_ text: [UInt8]) -> Int {
        if text.isEmpty { return 0 }
        let limit = Int.max / 4
        let value = Int(String(decoding: text, as: UTF8.self))
        return min(max(value ?? (text[0] == UInt8(ascii: "-") ? -limit : limit), -limit), limit)
    }

    static func < (left: Decimal, right: Decimal) -> Bool {
        if left.isNegative != right.isNegative { return left.isNegative }
        let smaller = left.isNegative ? right.magnitudeIsLess(than: left) : left.magnitudeIsLess(than: right)
        return smaller
    }

    private func magnitudeIsLess(than other: Decimal) -> Bool {
        if digits.isEmpty || other.digits.isEmpty { return digits.isEmpty && !other.digits.isEmpty }
        let (size, otherSize) = (digits.utf8.count + exponent, other.digits.utf8.count + other.exponent)
        if size != otherSize { return size < otherSize }
        // Same magnitude: digits compare as text, a prefix being the smaller.
        return digits < other.digits
    }
}
