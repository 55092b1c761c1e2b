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
    public var isInteger: Bool { plainInteger != nil || Decimal(text).exponent >= 0 }

    /// The value of a text that is digits only, as most are, and not too long for an `Int`.
    var plainInteger: Int? {
        var text = text
        return text.withUTF8 { digits in
            let isNegative = digits.first == UInt8(ascii: "-")
            let magnitude = digits.dropFirst(isNegative ? 1 : 0)
            guard !magnitude.isEmpty, magnitude.count <= 18 else { return nil }
            var value = 0
            for digit in magnitude {
                guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
                value = value &* 10 &+ Int(digit &- UInt8(ascii: "0"))
            }
            return isNegative ? -value : value
        }
    }
}

// By mathematical value, whatever the size of number or exponent.
extension JSONNumber: Hashable {
    public static func == (left: JSONNumber, right: JSONNumber) -> Bool {
        left.text == right.text || Decimal(left.text) == Decimal(right.text)
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(Decimal(text)) }
}

extension JSONNumber: Comparable {
    public static func < (left: JSONNumber, right: JSONNumber) -> Bool {
        if let left = left.plainInteger, let right = right.plainInteger { return left < right }
        return Decimal(left.text) < Decimal(right.text)
    }
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

extension JSONNumber {
    /// Whether it is a whole multiple of another number, exactly, as decimal fractions.
    public func isMultiple(of divisor: JSONNumber) -> Bool {
        let (value, unit) = (Decimal(text), Decimal(divisor.text))
        if value.digits.isEmpty { return true }
        let shift = value.exponent - unit.exponent
        // value / unit = (digits / unit's digits) * 10^shift
        guard let modulus = UInt64(unit.digits), modulus > 0, shift > -19, shift < 10_000 else {
            return unit.digits.isEmpty || shift <= -19 ? false : (double / divisor.double).truncatingRemainder(dividingBy: 1) == 0
        }
        let scale = (0..<max(0, -shift)).reduce(UInt64(1)) { power, _ in power * 10 }
        let (whole, overflow) = modulus.multipliedReportingOverflow(by: scale)
        if overflow { return false }  // more digits than the value has, which ends in none that is 0
        let zeros = repeatElement(UInt8(ascii: "0"), count: max(0, shift))
        return (Array(value.digits.utf8) + zeros).reduce(UInt64(0)) { rest, digit in
            let (high, low) = rest.multipliedFullWidth(by: 10)
            let (sum, carry) = low.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
            return whole.dividingFullWidth((high + (carry ? 1 : 0), sum)).remainder
        } == 0
    }
}
