import KnapPlugin

/// A regular expression as JavaScript writes it (ECMA-262 §22.2.1), as far as one pass over a text can decide it.
///
/// It is simulated as a set of states (Thompson, 1968) that are remembered as they are met, so no pattern takes more
/// than time proportional to the text: there is none that hangs. That is why look-around and back-references are
/// refused. `^` and `$` are the ends of a line, `.` is anything but a line's end.
struct RegularExpression: Sendable {
    enum Instruction: Sendable {
        case scalar(CharacterClass)
        case split(Int, Int)
        case jump(Int)
        case lineStart, lineEnd
        case wordBoundary(Bool)
        case match
    }

    struct CharacterClass: Sendable {
        var ranges: [ClosedRange<UInt32>]
        var isNegated = false

        func contains(_ scalar: Unicode.Scalar, ignoringCase: Bool) -> Bool {
            func has(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }
            var found = has(scalar.value)
            if ignoringCase, !found {
                for mapping in [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping] {
                    let mapped = mapping.unicodeScalars
                    if mapped.count == 1, let first = mapped.first { found = found || has(first.value) }
                }
            }
            return found != isNegated
        }

        static let digit: [ClosedRange<UInt32>] = [0x30...0x39]
        static let word: [ClosedRange<UInt32>] = [0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A]
        static let space: [ClosedRange<UInt32>] = [
            0x09...0x0D, 0x20...0x20, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029, 0x202F...0x202F,
            0x205F...0x205F, 0x3000...0x3000, 0xFEFF...0xFEFF,
        ]
        static let lineEnd: [ClosedRange<UInt32>] = [0x0A...0x0A, 0x0D...0x0D, 0x2028...0x2029]

        /// All that is in none of these, which are in order.
        static func complement(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
            var rest: [ClosedRange<UInt32>] = []
            var start: UInt32 = 0
            for range in ranges {
                if range.lowerBound > start { rest.append(start...range.lowerBound - 1) }
                start = range.upperBound + 1
            }
            return rest + [start...0x10FFFF]
        }
    }

    private(set) var program: [Instruction] = []

    /// `place` is where the pattern begins in the query, for errors.
    init(_ pattern: String, at place: Int = 0) throws(VaultError) {
        var parser = Parser(text: Array(pattern.unicodeScalars), place: place)
        let node = try parser.alternatives()
        if parser.next < parser.text.count { throw parser.error("this ')' closes no '('; write \\)") }
        try emit(node, parser)
        program.append(.match)
    }

    // MARK: Compiling

    fileprivate indirect enum Node {
        case empty
        case one(Instruction)
        case sequence([Node])
        case alternatives([Node])
        case repeated(Node, least: Int, most: Int?)
    }

    private static let mostInstructions = 1000

    private mutating func emit(_ node: Node, _ parser: Parser) throws(VaultError) {
        guard program.count < Self.mostInstructions else {
            throw parser.error(at: 0, "this pattern is too large; its repetitions count as often as they are allowed")
        }
        switch node {
        case .empty: return
        case .one(let instruction): program.append(instruction)
        case .sequence(let parts): for part in parts { try emit(part, parser) }
        case .alternatives(let parts):
            var ends: [Int] = []
            for part in parts.dropLast() {
                let split = program.count
                program.append(.split(split + 1, 0))
                try emit(part, parser)
                ends.append(program.count)
                program.append(.jump(0))
                program[split] = .split(split + 1, program.count)
            }
            try emit(parts[parts.count - 1], parser)
            for end in ends { program[end] = .jump(program.count) }
        case .repeated(let part, let least, let most):
            for _ in 0..<least { try emit(part, parser) }
            guard let most else {
                let split = program.count
                program.append(.split(split + 1, 0))
                try emit(part, parser)
                program.append(.jump(split))
                program[split] = .split(split + 1, program.count)
                return
            }
            var splits: [Int] = []
            for _ in least..<most {
                splits.append(program.count)
                program.append(.split(program.count + 1, 0))
                try emit(part, parser)
            }
            for split in splits { program[split] = .split(split + 1, program.count) }
        }
    }

    // MARK: Parsing

    fileprivate struct Parser {
        let text: [Unicode.Scalar]
        let place: Int
        var next = 0
        var depth = 0

        func error(at offset: Int? = nil, _ message: String) -> VaultError {
            VaultError(
                .invalidArgument,
                "query, character \(place + (offset ?? next) + 1): in the regular expression: \(message)")
        }

        private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
            guard next < text.count, text[next] == scalar else { return false }
            next += 1
            return true
        }

        mutating func alternatives() throws(VaultError) -> Node {
            depth += 1
            defer { depth -= 1 }
            guard depth <= 32 else { throw error("more than 32 levels of groups") }
            var parts: [Node] = [try sequence()]
            while take("|") { parts.append(try sequence()) }
            return parts.count == 1 ? parts[0] : .alternatives(parts)
        }

        private mutating func sequence() throws(VaultError) -> Node {
            var parts: [Node] = []
            while next < text.count, text[next] != "|", text[next] != ")" {
                let start = next
                let part = try atom()
                parts.append(try repeated(part, start))
            }
            return parts.isEmpty ? .empty : .sequence(parts)
        }

        private mutating func repeated(_ part: Node, _ start: Int) throws(VaultError) -> Node {
            guard next < text.count else { return part }
            let node: Node
            switch text[next] {
            case "*": node = .repeated(part, least: 0, most: nil)
            case "+": node = .repeated(part, least: 1, most: nil)
            case "?": node = .repeated(part, least: 0, most: 1)
            case "{":
                guard let (least, most, end) = bounds() else { return part }
                guard least <= 1000, most ?? 0 <= 1000 else { throw error("a repetition counts to 1000 at most") }
                guard least <= most ?? least else { throw error("a repetition's numbers are out of order") }
                node = .repeated(part, least: least, most: most)
                next = end
            default: return part
            }
            next += 1
            _ = take("?")  // Whether the shortest or the longest is taken does not matter for whether there is one.
            if next < text.count, "*+?".unicodeScalars.contains(text[next]) { throw nothingToRepeat(next) }
            return node
        }

        private func nothingToRepeat(_ place: Int) -> VaultError {
            error(at: place, "nothing to repeat; for the character itself write \\\(text[place])")
        }

        /// `{2}`, `{2,}`, `{2,3}`; anything else is text. `end` is the brace's place.
        private func bounds() -> (least: Int, most: Int?, end: Int)? {
            guard let end = text[next...].firstIndex(of: "}") else { return nil }
            let parts = text[next + 1..<end].split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
                .map { String(String.UnicodeScalarView($0)) }
            guard let least = Int(parts[0]), least >= 0 else { return nil }
            guard parts.count == 2 else { return (least, least, end) }
            guard !parts[1].isEmpty else { return (least, nil, end) }
            return Int(parts[1]).map { (least, $0, end) }
        }

        private mutating func atom() throws(VaultError) -> Node {
            let start = next
            next += 1
            switch text[start] {
            case ".": return .one(.scalar(CharacterClass(ranges: CharacterClass.lineEnd, isNegated: true)))
            case "^": return .one(.lineStart)
            case "$": return .one(.lineEnd)
            case "[": return .one(.scalar(try characterClass(start)))
            case "(":
                if take("?") { try groupKind(start) }
                let inner = try alternatives()
                guard take(")") else { throw error(at: start, "this '(' has no ')'; write \\(") }
                return inner
            case "*", "+", "?": throw nothingToRepeat(start)
            case "\\": return try escape(start)
            default: return .one(.scalar(CharacterClass(ranges: [text[start].value...text[start].value])))
            }
        }

        /// `(?:` and `(?<name>`; a group's text is never asked for.
        private mutating func groupKind(_ start: Int) throws(VaultError) {
            if take(":") { return }
            if take("<"), next < text.count, text[next] != "=", text[next] != "!",
                let end = text[next...].firstIndex(of: ">")
            {
                next = end + 1
                return
            }
            throw error(
                at: start,
                "look-ahead and look-behind are not supported: a pattern is decided in one pass; combine several terms")
        }

        private mutating func escape(_ start: Int) throws(VaultError) -> Node {
            guard next < text.count else {
                throw error(at: start, "a '\\' at the end; for the character itself write \\\\")
            }
            switch text[next] {
            case "b", "B":
                next += 1
                return .one(.wordBoundary(text[next - 1] == "b"))
            case "1"..."9", "k":
                throw error(at: start, "references to groups are not supported: a pattern is decided in one pass")
            default: return .one(.scalar(CharacterClass(ranges: try escaped(start))))
            }
        }

        /// What stands behind a `\`, outside and inside a class.
        private mutating func escaped(_ start: Int) throws(VaultError) -> [ClosedRange<UInt32>] {
            let scalar = text[next]
            next += 1
            switch scalar {
            case "d": return CharacterClass.digit
            case "D": return CharacterClass.complement(CharacterClass.digit)
            case "w": return CharacterClass.word
            case "W": return CharacterClass.complement(CharacterClass.word)
            case "s": return CharacterClass.space
            case "S": return CharacterClass.complement(CharacterClass.space)
            case "n": return [0x0A...0x0A]
            case "r": return [0x0D...0x0D]
            case "t": return [0x09...0x09]
            case "f": return [0x0C...0x0C]
            case "v": return [0x0B...0x0B]
            case "0": return [0...0]
            case "x": return try hexadecimal(start, digits: 2)
            case "u": return try hexadecimal(start, digits: 4)
            default:
                guard !scalar.properties.isAlphabetic else {
                    let known = #"\d \D \w \W \s \S \b \B \n \r \t \f \v \0 \xHH \uHHHH"#
                    throw error(at: start, "\\\(scalar) is not supported; there are \(known)")
                }
                return [scalar.value...scalar.value]
            }
        }

        private mutating func hexadecimal(_ start: Int, digits: Int) throws(VaultError) -> [ClosedRange<UInt32>] {
            let end = next + digits
            guard end <= text.count, let value = UInt32(String(String.UnicodeScalarView(text[next..<end])), radix: 16)
            else {
                throw error(at: start, "\(digits) hexadecimal digits are missing")
            }
            next = end
            return [value...value]
        }

        private mutating func characterClass(_ start: Int) throws(VaultError) -> CharacterClass {
            var set = CharacterClass(ranges: [], isNegated: take("^"))
            while next < text.count, text[next] != "]" {
                let first = try classElement()
                guard next + 1 < text.count, text[next] == "-", text[next + 1] != "]" else {
                    set.ranges += first
                    continue
                }
                let dash = next
                next += 1
                let last = try classElement()
                guard first.count == 1, last.count == 1, first[0].count == 1, last[0].count == 1,
                    first[0].lowerBound <= last[0].lowerBound
                else {
                    throw error(
                        at: dash, "a range goes from one character to a later one; for the character '-' write \\-")
                }
                set.ranges.append(first[0].lowerBound...last[0].lowerBound)
            }
            guard take("]") else { throw error(at: start, "this '[' has no ']'; write \\[") }
            return set
        }

        private mutating func classElement() throws(VaultError) -> [ClosedRange<UInt32>] {
            let start = next
            next += 1
            guard text[start] == "\\" else { return [text[start].value...text[start].value] }
            guard next < text.count else { throw error(at: start, "a '\\' at the end") }
            guard !take("b") else { return [0x08...0x08] }
            return try escaped(start)
        }
    }
}

// MARK: - Matching

/// Runs a regular expression over texts and remembers the sets of states it has met.
final class RegularExpressionMatcher {
    /// What stands on one side of a place in the text.
    private enum Side: UInt8 { case lineEnd, word, other }

    private struct State: Hashable {
        var places: [Int32]
        var before: Side
    }

    private static let mostStates = 500
    private static let unknown: Int32 = -2, found: Int32 = -1

    private let program: [RegularExpression.Instruction]
    private let ignoresCase: Bool
    private let check: () throws -> Void
    private var states: [State] = []
    private var numbers: [State: Int32] = [:]
    /// 128 for each state, for the scalars of ASCII.
    private var next: [Int32] = []
    private var nextOthers: [UInt64: Int32] = [:]
    private var misses = 0

    /// `check` throws to end a run that takes too long.
    init(_ expression: RegularExpression, ignoresCase: Bool, check: @escaping () throws -> Void) {
        program = expression.program
        self.ignoresCase = ignoresCase
        self.check = check
    }

    /// Where in a text of UTF-8, or in a part of it, the match ends that ends first.
    func firstEnd(in text: [UInt8], _ range: Range<Int>? = nil) throws -> Int? {
        try text.withUnsafeBufferPointer { try firstEnd(in: $0, range ?? text.indices) }
    }

    private func firstEnd(in bytes: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) throws -> Int? {
        var before = Side.lineEnd
        if range.lowerBound > 0 { before = side(Unicode.Scalar(bytes[range.lowerBound - 1])) }
        var state = number(State(places: [], before: before))
        var place = range.lowerBound
        while place < range.upperBound {
            let byte = bytes[place]
            var width = 1
            var following: Int32
            if byte < 0x80 {
                following = next[Int(state) << 7 | Int(byte)]
                if following == Self.unknown { following = try step(state, Unicode.Scalar(byte)) }
            } else {
                let scalar: Unicode.Scalar
                (scalar, width) = Self.decode(bytes, place)
                following = try nextOthers[UInt64(state) << 32 | UInt64(scalar.value)] ?? step(state, scalar)
            }
            if following == Self.found { return place }
            state = following
            place += width
        }
        let after = range.upperBound < bytes.count ? side(Self.decode(bytes, range.upperBound).0) : .lineEnd
        return closure(states[Int(state)], after: after) == nil ? range.upperBound : nil
    }

    private static func decode(_ bytes: UnsafeBufferPointer<UInt8>, _ place: Int) -> (Unicode.Scalar, width: Int) {
        var rest = bytes[place...].makeIterator()
        var codec = UTF8()
        guard case .scalarValue(let scalar) = codec.decode(&rest) else { return ("\u{FFFD}", 1) }
        return (scalar, UTF8.width(scalar))
    }

    private func side(_ scalar: Unicode.Scalar) -> Side {
        func isIn(_ ranges: [ClosedRange<UInt32>]) -> Bool { ranges.contains { $0.contains(scalar.value) } }
        if isIn(RegularExpression.CharacterClass.lineEnd) { return .lineEnd }
        return isIn(RegularExpression.CharacterClass.word) ? .word : .other
    }

    /// The state after a scalar that this state has not met; `found` when the match ended before it.
    private func step(_ number: Int32, _ scalar: Unicode.Scalar) throws -> Int32 {
        misses += 1
        if misses % 64 == 0 { try check() }
        var state = states[Int(number)]
        var following = Self.found
        let side = side(scalar)
        if let places = closure(state, after: side) {
            state = State(places: [], before: side)
            for place in places {
                guard case .scalar(let set) = program[Int(place)], set.contains(scalar, ignoringCase: ignoresCase)
                else { continue }
                state.places.append(place + 1)
            }
            let known = states.count
            following = self.number(state)
            // All numbers are new when the states were forgotten.
            if states.count < known { return following }
        }
        if scalar.isASCII {
            next[Int(number) << 7 | Int(scalar.value)] = following
        } else {
            nextOthers[UInt64(number) << 32 | UInt64(scalar.value)] = following
        }
        return following
    }

    private func number(_ state: State) -> Int32 {
        if let number = numbers[state] { return number }
        if states.count == Self.mostStates || nextOthers.count > 100_000 {
            states = []
            numbers = [:]
            next = []
            nextOthers = [:]
        }
        let number = Int32(states.count)
        states.append(state)
        numbers[state] = number
        next.append(contentsOf: repeatElement(Self.unknown, count: 128))
        return number
    }

    /// The places that wait for a scalar, in order; nil when a match ends here. A match may begin at every place.
    private func closure(_ state: State, after: Side) -> [Int32]? {
        var isSeen = [Bool](repeating: false, count: program.count)
        var waiting = state.places + [0]
        var places: [Int32] = []
        while let place = waiting.popLast() {
            guard !isSeen[Int(place)] else { continue }
            isSeen[Int(place)] = true
            switch program[Int(place)] {
            case .scalar: places.append(place)
            case .split(let first, let second): waiting += [Int32(first), Int32(second)]
            case .jump(let target): waiting.append(Int32(target))
            case .lineStart: if state.before == .lineEnd { waiting.append(place + 1) }
            case .lineEnd: if after == .lineEnd { waiting.append(place + 1) }
            case .wordBoundary(let isOne):
                if ((state.before == .word) != (after == .word)) == isOne { waiting.append(place + 1) }
            case .match: return nil
            }
        }
        return places.sorted()
    }
}
