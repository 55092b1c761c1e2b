import KnapHost
import KnapJSON

/// Values for a JSON Schema: some that it allows, those at its bounds among them, and some that it forbids.
///
/// What it makes is guessed from the keywords and then judged by the schema itself, so that no guess is taken for the
/// other kind. The same seed makes the same values.
package struct InputGenerator {
    private var random: Random
    private let document: JSON
    private let schema: Schema

    /// Throws for a document that is no schema.
    package init(_ document: JSON, seed: UInt64) throws(SchemaError) {
        schema = try Schema.compile(document)
        self.document = document
        random = Random(state: seed)
    }

    /// At most `count` values that are allowed and differ, the simplest first.
    package mutating func valid(_ count: Int) -> [JSON] {
        var found: [JSON] = []
        for size in [Size.least, .most] { add(guess(document, size, depth: 0), to: &found, if: true) }
        for _ in 0..<count * 8 where found.count < count { add(guess(document, .any, depth: 0), to: &found, if: true) }
        return Array(found.prefix(count))
    }

    /// At most `count` values that are forbidden and differ: good ones with one thing wrong.
    package mutating func invalid(_ count: Int) -> [JSON] {
        var found: [JSON] = []
        for value in Self.others { add(value, to: &found, if: false) }
        found = Array(found.prefix(2))
        for _ in 0..<count * 16 where found.count < count { add(spoiled(guess(document, .any, depth: 0)), to: &found, if: false) }
        return found
    }

    private func add(_ value: JSON, to found: inout [JSON], if isValid: Bool) {
        if !found.contains(value), schema.isValid(value) == isValid { found.append(value) }
    }

    private static let others: [JSON] = [.null, .string(""), .number(JSONNumber(-1)), .array([]), .bool(true), [:]]

    private enum Size { case least, any, most }

    // MARK: Guessing

    private mutating func guess(_ schema: JSON, _ size: Size, depth: Int) -> JSON {
        guard depth < 8 else { return .null }
        if let reference = schema["$ref"]?.stringValue { return guess(resolve(reference), size, depth: depth + 1) }
        if let value = schema["const"] { return value }
        if let values = schema["enum"]?.arrayValue, let value = pick(values, size) { return value }
        for keyword in ["oneOf", "anyOf"] {
            if let choice = schema[keyword]?.arrayValue.flatMap({ pick($0, size) }) {
                return guess(merged(schema, choice), size, depth: depth + 1)
            }
        }
        if let parts = schema["allOf"]?.arrayValue {
            return guess(parts.reduce(schema.without("allOf")) { merged($0, $1) }, size, depth: depth + 1)
        }
        if size == .any, let examples = schema["examples"]?.arrayValue, random.isTrue, let value = pick(examples, .any) { return value }
        switch type(of: schema, size) {
        case "object": return object(schema, size, depth)
        case "array": return array(schema, size, depth)
        case "string": return .string(text(schema, size))
        case "integer": return integer(schema, size)
        case "number": return random.isTrue ? integer(schema, size) : (JSONNumber(number(schema, size)).map(JSON.number) ?? .null)
        case "boolean": return .bool(random.isTrue)
        default: return .null
        }
    }

    private mutating func type(of schema: JSON, _ size: Size) -> String {
        if let type = schema["type"]?.stringValue { return type }
        if let types = schema["type"]?.arrayValue?.compactMap(\.stringValue), let type = pick(types, size) { return type }
        if schema["properties"] != nil || schema["required"] != nil { return "object" }
        if schema["items"] != nil || schema["prefixItems"] != nil { return "array" }
        if schema["minLength"] != nil || schema["pattern"] != nil { return "string" }
        if schema["minimum"] != nil || schema["maximum"] != nil { return "number" }
        return pick(["object", "string", "integer", "boolean", "array", "null"], size) ?? "null"
    }

    private mutating func object(_ schema: JSON, _ size: Size, _ depth: Int) -> JSON {
        let required = Set((schema["required"]?.arrayValue ?? []).compactMap(\.stringValue))
        var object = JSONObject()
        for (name, inner) in schema["properties"]?.objectValue?.members ?? [] {
            guard required.contains(name) || size == .most || (size == .any && random.isTrue) else { continue }
            object[name] = guess(inner, size, depth: depth + 1)
        }
        for name in required.sorted() where object[name] == nil { object[name] = .string(Self.words[0]) }
        return .object(object)
    }

    private mutating func array(_ schema: JSON, _ size: Size, _ depth: Int) -> JSON {
        let first = schema["prefixItems"]?.arrayValue ?? []
        let least = schema["minItems"]?.intValue ?? 0
        let most = max(least, min(schema["maxItems"]?.intValue ?? 4, 32))
        let count = size == .least ? least : size == .most ? most : random.number(in: least...most)
        var elements = first.prefix(count).map { $0 }
        while elements.count < count { elements.append(schema["items"] ?? ["type": "string"]) }
        return .array(elements.map { guess($0, size, depth: depth + 1) })
    }

    private static let words = [
        "a", "two words", "Grüße, 世界 🦀", "", "line\nline", "../../etc/passwd", "'; DROP TABLE notes; --", "2026-05-31",
        "https://example.org/a?b=c", "a@example.org", "12", "{}", "\u{0}\u{1F}", "e\u{301}",
    ]

    private mutating func text(_ schema: JSON, _ size: Size) -> String {
        let least = schema["minLength"]?.intValue ?? 0
        let most = max(least, min(schema["maxLength"]?.intValue ?? 10_000, 10_000))
        switch size {
        case .least: return least == 0 && schema["pattern"] == nil ? "" : padded(random.element(of: Self.words), least, most)
        case .most: return String(repeating: "a", count: most)
        case .any: return padded(random.element(of: Self.words), least, most)
        }
    }

    private func padded(_ text: String, _ least: Int, _ most: Int) -> String {
        let text = String(String.UnicodeScalarView(text.unicodeScalars.prefix(most)))
        return text + String(repeating: "a", count: max(0, least - text.unicodeScalars.count))
    }

    private mutating func integer(_ schema: JSON, _ size: Size) -> JSON {
        let least = bound(schema, "minimum", "exclusiveMinimum", 1).map { Int($0.rounded(.up)) }
        let most = bound(schema, "maximum", "exclusiveMaximum", -1).map { Int($0.rounded(.down)) }
        let step = max(1, schema["multipleOf"]?.intValue ?? 1)
        let low = least ?? min(0, most ?? 0)
        let high = max(low, most ?? max(low, 1_000))
        let value = size == .least ? low : size == .most ? high : random.number(in: low...high)
        return .number(JSONNumber(value / step * step))
    }

    private mutating func number(_ schema: JSON, _ size: Size) -> Double {
        let low = bound(schema, "minimum", "exclusiveMinimum", 0.5) ?? 0
        let high = max(low, bound(schema, "maximum", "exclusiveMaximum", -0.5) ?? low + 1_000)
        return size == .least ? low : size == .most ? high : low + (high - low) * Double(random.number(in: 0...1_000)) / 1_000
    }

    /// A bound that a number cannot hold exactly is as good as none.
    private func bound(_ schema: JSON, _ inclusive: String, _ exclusive: String, _ step: Double) -> Double? {
        let value = schema[inclusive]?.doubleValue ?? schema[exclusive]?.doubleValue.map { $0 + step }
        return value.flatMap { abs($0) <= 9_007_199_254_740_992 ? $0 : nil }
    }

    private mutating func pick<Element>(_ elements: [Element], _ size: Size) -> Element? {
        elements.isEmpty ? nil : size == .least ? elements[0] : size == .most ? elements[elements.count - 1] : random.element(of: elements)
    }

    private func merged(_ schema: JSON, _ other: JSON) -> JSON {
        guard var result = schema.objectValue, let other = other.objectValue else { return schema }
        for name in ["oneOf", "anyOf"] { result[name] = nil }
        for (name, value) in other.members {
            if let mine = result[name]?.objectValue, let theirs = value.objectValue {
                var both = mine
                for (inner, value) in theirs.members { both[inner] = value }
                result[name] = .object(both)
            } else if name == "required", let mine = result[name]?.arrayValue, let theirs = value.arrayValue {
                result[name] = .array(mine + theirs)
            } else {
                result[name] = value
            }
        }
        return .object(result)
    }

    /// Within the document only; nothing is fetched.
    private func resolve(_ reference: String) -> JSON {
        guard reference.hasPrefix("#/") else { return reference == "#" ? document : .null }
        var place = document
        for part in reference.dropFirst(2).split(separator: "/") {
            let name = part.split(separator: "~1", omittingEmptySubsequences: false).joined(separator: "/")
                .split(separator: "~0", omittingEmptySubsequences: false).joined(separator: "~")
            place = place[name] ?? .null
        }
        return place
    }

    // MARK: Spoiling

    /// The value with one thing changed.
    private mutating func spoiled(_ value: JSON) -> JSON {
        guard var object = value.objectValue, !object.isEmpty || random.isTrue else { return random.element(of: Self.others) }
        let name = object.isEmpty ? "unknown" : random.element(of: object.names)
        switch random.number(in: 0...3) {
        case 0: object[name] = nil
        case 1: object["unknown member"] = .number(JSONNumber(1))
        case 2: object[name] = random.element(of: Self.others)
        default: object[name] = object[name].map { beyond($0) } ?? .null
        }
        return .object(object)
    }

    /// Further than a bound is likely to reach.
    private func beyond(_ value: JSON) -> JSON {
        switch value {
        case .string(let text): .string(text + String(repeating: "x", count: 20_000))
        case .number: .number(JSONNumber(-9_000_000_000_000_000))
        case .array(let elements): .array(elements + Array(repeating: .null, count: 200))
        default: .array([value])
        }
    }
}

extension JSON {
    fileprivate func without(_ name: String) -> JSON {
        guard var object = objectValue else { return self }
        object[name] = nil
        return .object(object)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers for the same seed, everywhere.
private struct Random {
    var state: UInt64

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    var isTrue: Bool { mutating get { next() & 1 == 1 } }
    mutating func number(in range: ClosedRange<Int>) -> Int {
        let count = UInt64(range.upperBound - range.lowerBound)
        return count == .max ? Int(truncatingIfNeeded: next()) : range.lowerBound + Int(next() % (count + 1))
    }
    mutating func element<Element>(of elements: [Element]) -> Element { elements[number(in: 0...elements.count - 1)] }
}
