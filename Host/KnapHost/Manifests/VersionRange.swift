/// A set of versions, written the way npm and Cargo users know: `^1.2`, `~1.2.3`, `>=1 <3`, `1.x`, `1.2 || ^2.1`, `*`.
///
/// Comparators beside each other must all hold; `||` separates alternatives. A pre-release is contained only when a
/// comparator of the same alternative names a pre-release of the same three numbers: who asks for `>=1.0.0` did not
/// ask for `2.0.0-alpha`, who asks for `>=2.0.0-alpha` did.
package struct VersionRange: Sendable, Hashable, CustomStringConvertible {
    /// As it was written.
    package let description: String
    let alternatives: [Alternative]

    package init(_ text: String) throws(VersionError) {
        description = text
        alternatives = try VersionRangeParser(text).parse()
    }

    /// Every version from `version` on that its author promises to be compatible: `^version`.
    package init(compatibleWith version: Version) {
        description = "^\(version)"
        alternatives = [Alternative(comparators: Comparator.caret(version, given: 3))]
    }

    package func contains(_ version: Version) -> Bool {
        alternatives.contains { $0.contains(version) }
    }

    /// Comparators that must all hold.
    struct Alternative: Sendable, Hashable {
        let comparators: [Comparator]

        func contains(_ version: Version) -> Bool {
            guard comparators.allSatisfy({ $0.contains(version) }) else { return false }
            return !version.isPrerelease
                || comparators.contains { $0.namesPrerelease && $0.version.release == version.release }
        }
    }

    /// One bound.
    struct Comparator: Sendable, Hashable {
        enum Relation: Sendable, Hashable { case less, lessOrEqual, equal, greaterOrEqual, greater }

        let relation: Relation
        let version: Version
        /// False for bounds that an abbreviation implies, such as the `<2.0.0-0` of `^1.2`.
        var namesPrerelease: Bool

        init(_ relation: Relation, _ version: Version, implied: Bool = false) {
            self.relation = relation
            self.version = version
            namesPrerelease = version.isPrerelease && !implied
        }

        func contains(_ other: Version) -> Bool {
            switch relation {
            case .less: other < version
            case .lessOrEqual: other <= version
            case .equal: other == version
            case .greaterOrEqual: other >= version
            case .greater: other > version
            }
        }

        /// Below every pre-release of `version` too, so that `^1.2` keeps `2.0.0-alpha` out.
        static func below(_ major: Int, _ minor: Int, _ patch: Int) -> Self {
            Self(.less, Version(major, minor, patch, prerelease: [.number(0)]), implied: true)
        }

        /// What may change without the leftmost number that is not zero changing; `given` numbers were written.
        static func caret(_ version: Version, given: Int) -> [Self] {
            let end: Self
            if version.major > 0 || given == 1 {
                end = .below(version.major + 1, 0, 0)
            } else if version.minor > 0 || given == 2 {
                end = .below(0, version.minor + 1, 0)
            } else {
                end = .below(0, 0, version.patch + 1)
            }
            return [Self(.greaterOrEqual, version), end]
        }

        /// What may change without the minor number changing (or the major, when only that was written).
        static func tilde(_ version: Version, given: Int) -> [Self] {
            let end: Self = given == 1 ? .below(version.major + 1, 0, 0) : .below(version.major, version.minor + 1, 0)
            return [Self(.greaterOrEqual, version), end]
        }
    }
}

/// Turns the text of a range into comparators.
struct VersionRangeParser {
    typealias Comparator = VersionRange.Comparator

    private var scanner: VersionScanner

    init(_ text: String) {
        scanner = VersionScanner(text)
        scanner.code = .invalidRange
    }

    consuming func parse() throws(VersionError) -> [VersionRange.Alternative] {
        var parser = self
        var alternatives: [VersionRange.Alternative] = []
        repeat { alternatives.append(try parser.alternative()) } while parser.scanner.skip("||")
        guard parser.scanner.isAtEnd else { throw parser.scanner.failure("a comparator or '||' is expected") }
        return alternatives
    }

    private mutating func alternative() throws(VersionError) -> VersionRange.Alternative {
        var comparators: [Comparator] = []
        var count = 0
        scanner.skipSpaces()
        while let byte = scanner.next, byte != UInt8(ascii: "|") {
            comparators += try comparator()
            count += 1
            let before = scanner.next
            scanner.skipSpaces()
            guard before == nil || before == UInt8(ascii: " ") || before == UInt8(ascii: "|") else {
                throw scanner.failure("a space or '||' is expected between comparators")
            }
        }
        guard count > 0 else { throw scanner.failure("a comparator is expected (write '*' for every version)") }
        return VersionRange.Alternative(comparators: comparators)
    }

    private mutating func comparator() throws(VersionError) -> [Comparator] {
        enum Sign {
            case caret, tilde
            case relation(Comparator.Relation)
        }
        let sign: Sign =
            if scanner.skip("^") { .caret } else if scanner.skip("~") { .tilde } else if scanner.skip(">=") {
                .relation(.greaterOrEqual)
            } else if scanner.skip("<=") { .relation(.lessOrEqual) } else if scanner.skip(">") {
                .relation(.greater)
            } else if scanner.skip("<") { .relation(.less) } else { .relation(.equal) }
        if case .relation(.equal) = sign { _ = scanner.skip("=") }
        scanner.skipSpaces()
        let (version, given) = try partialVersion()
        guard given > 0 else {
            // '*' with a strict sign is the empty set; with any other it is everything.
            switch sign {
            case .relation(.less), .relation(.greater): return [.below(0, 0, 0)]
            default: return []
            }
        }
        switch sign {
        case .caret: return Comparator.caret(version, given: given)
        case .tilde: return Comparator.tilde(version, given: given)
        case .relation(let relation): return Self.expand(relation, version, given: given)
        }
    }

    /// `>1.2` means past every 1.2.z, `<=1.2` up to the last of them, `=1.2` any of them.
    private static func expand(_ relation: Comparator.Relation, _ version: Version, given: Int) -> [Comparator] {
        guard given < 3 else { return [Comparator(relation, version)] }
        let following = given == 1 ? Version(version.major + 1, 0, 0) : Version(version.major, version.minor + 1, 0)
        switch relation {
        case .greater: return [Comparator(.greaterOrEqual, following)]
        case .greaterOrEqual: return [Comparator(.greaterOrEqual, version)]
        case .less: return [.below(version.major, version.minor, 0)]
        case .lessOrEqual: return [.below(following.major, following.minor, 0)]
        case .equal: return Comparator.tilde(version, given: given)
        }
    }

    /// A version of which the last numbers may be missing or `x`; `given` says how many are there.
    private mutating func partialVersion() throws(VersionError) -> (version: Version, given: Int) {
        var numbers: [Int] = []
        var wildcard = false
        var parts = 0
        repeat {
            parts += 1
            if scanner.skip("x") || scanner.skip("X") || scanner.skip("*") {
                wildcard = true
            } else {
                let number = try scanner.number()
                guard !wildcard else { throw scanner.failure("no number may follow a wildcard") }
                guard number < Int.max else { throw scanner.failure("the number is too large") }
                numbers.append(number)
            }
        } while parts < 3 && scanner.skip(".")
        if numbers.count == 3 {
            let labels = try scanner.labels()
            return (Version(numbers[0], numbers[1], numbers[2], prerelease: labels.prerelease, build: labels.build), 3)
        }
        let given = numbers.count
        numbers += Array(repeating: 0, count: 3 - given)
        return (Version(numbers[0], numbers[1], numbers[2]), given)
    }
}
