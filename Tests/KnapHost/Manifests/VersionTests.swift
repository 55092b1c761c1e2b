import TestSupport
import Testing

@testable import KnapHost

@Suite("A version follows semver 2.0")
struct VersionTests {
    @Test(
        "is written as it was read",
        arguments: [
            "0.0.0", "1.2.3", "10.20.30", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-0A.is.legal", "1.0.0--",
            "1.0.0+build.001", "1.0.0-rc.1+sha.5114f85", "1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay",
        ])
    func roundTrip(text: String) throws {
        #expect(try Version(text).description == text)
    }

    @Test(
        "is refused when it is not one",
        arguments: [
            "", "1", "1.2", "1.2.3.4", "01.2.3", "1.02.3", "1.2.03", "v1.2.3", "1.2.3-", "1.2.3+", "1.2.3-a..b",
            "1.2.3-01",
            "1.2.3-a_b", "1.2.3 ", " 1.2.3", "-1.2.3", "1.2.x", "99999999999999999999.0.0", "1.2.3-é", "1.2.3+a+b",
        ])
    func refused(text: String) throws {
        let error = #expect(throws: VersionError.self) { try Version(text) }
        #expect(error?.code == .invalidVersion)
        #expect(error?.message.contains("'\(text)'") == true)
    }

    @Test("sorts as the specification's own example does")
    func precedence() throws {
        let ordered = try [
            "0.9.0", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
            "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0", "1.10.0", "2.0.0",
        ].map { try Version($0) }
        var generator = SeededGenerator(seed: 1)
        #expect(ordered.shuffled(using: &generator).sorted() == ordered)
    }

    @Test("compares without its build part")
    func buildIsIgnored() throws {
        #expect(try Version("1.0.0+a") == Version("1.0.0+b"))
        #expect(try Set([Version("1.0.0+a"), Version("1.0.0")]).count == 1)
    }

    @Test("has a total order, whatever the versions", arguments: 0..<200)
    func totalOrder(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let versions = (0..<3).map { _ in Version.random(using: &generator) }
        let (a, b, c) = (versions[0], versions[1], versions[2])
        #expect([a < b, a == b, a > b].count { $0 } == 1, "seed \(seed): \(a), \(b)")
        if a < b && b < c { #expect(a < c, "seed \(seed): \(a), \(b), \(c)") }
        if a == b { #expect(a.hashValue == b.hashValue) }
    }
}

@Suite("A range of versions")
struct VersionRangeTests {
    @Test(
        "contains and excludes what npm's documentation says",
        arguments: [
            ("*", ["0.0.0", "1.2.3"], ["1.0.0-rc.1"]),
            ("x", ["0.0.0"], ["0.0.0-a"]),
            ("1.2.3", ["1.2.3", "1.2.3+b"], ["1.2.4", "1.2.3-a"]),
            ("=1.2.3", ["1.2.3"], ["1.2.2"]),
            ("^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0", "2.0.0-a", "1.3.0-a"]),
            ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]),
            ("^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]),
            (
                "^1.2.3-beta.2", ["1.2.3-beta.2", "1.2.3-rc.1", "1.2.3", "1.9.9"],
                ["1.2.3-beta.1", "1.2.4-beta.2", "2.0.0-0"]
            ),
            ("^1", ["1.0.0", "1.9.9"], ["0.9.9", "2.0.0"]),
            ("^0", ["0.0.0", "0.9.9"], ["1.0.0"]),
            ("^0.0", ["0.0.0", "0.0.9"], ["0.1.0"]),
            ("^1.x", ["1.0.0"], ["2.0.0"]),
            ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0", "1.2.2"]),
            ("~1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
            ("~1", ["1.0.0", "1.9.0"], ["2.0.0"]),
            ("1.x", ["1.0.0", "1.9.9"], ["0.9.0", "2.0.0"]),
            ("1.2.*", ["1.2.0", "1.2.9"], ["1.3.0"]),
            ("1", ["1.0.0", "1.9.9"], ["2.0.0"]),
            (">=1.2.3", ["1.2.3", "9.0.0"], ["1.2.2", "9.0.0-a"]),
            (">1.2.3", ["1.2.4"], ["1.2.3"]),
            (">1.2", ["1.3.0"], ["1.2.9"]),
            (">1", ["2.0.0"], ["1.9.9"]),
            ("<2", ["1.9.9"], ["2.0.0"]),
            ("<=1.2", ["1.2.9"], ["1.3.0"]),
            ("<1.2.3", ["1.2.2"], ["1.2.3", "1.2.3-a"]),
            ("<=1.2.3", ["1.2.3"], ["1.2.4"]),
            (">=1 <3", ["1.0.0", "2.9.9"], ["0.9.9", "3.0.0"]),
            (">= 1.0.0  < 2.0.0", ["1.5.0"], ["2.0.0"]),
            ("^1 || ^3", ["1.5.0", "3.5.0"], ["2.0.0", "4.0.0"]),
            ("^1||^3", ["3.0.0"], ["2.0.0"]),
            (">1.2.3-alpha.3", ["1.2.3-alpha.7", "3.4.5"], ["3.4.5-alpha.9", "1.2.3-alpha.3"]),
            ("<*", [], ["0.0.0", "1.0.0"]),
        ])
    func contains(range: String, inside: [String], outside: [String]) throws {
        let parsed = try VersionRange(range)
        for version in inside { #expect(try parsed.contains(Version(version)), "\(range) should contain \(version)") }
        for version in outside {
            #expect(try !parsed.contains(Version(version)), "\(range) should not contain \(version)")
        }
    }

    @Test(
        "is refused when it is not one",
        arguments: [
            "", " ", "||", "^1 ||", "^", ">=", "1.2.3.4", "1.x.x.x", "x.1", "latest", "^01", "1.2.3^4", "1,2", "1 | 2",
            "1.2-a",
        ])
    func refused(text: String) throws {
        let error = #expect(throws: VersionError.self) { try VersionRange(text) }
        #expect(error?.code == .invalidRange)
    }

    @Test(
        "a caret keeps its promise: the lowest is inside, everything lower and the next major outside",
        arguments: 0..<200)
    func caret(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let base = Version.random(using: &generator)
        let other = Version.random(using: &generator)
        let range = try VersionRange("^\(base)")
        #expect(range == VersionRange(compatibleWith: base) || base.build != [])
        #expect(range.contains(base), "seed \(seed)")
        if range.contains(other) {
            #expect(other >= base && other.major == base.major, "seed \(seed): \(other) in \(range)")
            if base.major == 0 { #expect(other.minor == base.minor, "seed \(seed)") }
        }
    }

    @Test("an alternative adds versions and a second comparator takes some away", arguments: 0..<200)
    func algebra(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let versions = (0..<3).map { _ in Version.random(using: &generator).release }
        let (a, b, probe) = (versions[0], versions[1], versions[2])
        let left = try VersionRange(">=\(a)").contains(probe)
        let right = try VersionRange("<\(b)").contains(probe)
        #expect(try VersionRange(">=\(a) <\(b)").contains(probe) == (left && right), "seed \(seed)")
        #expect(try VersionRange(">=\(a) || <\(b)").contains(probe) == (left || right), "seed \(seed)")
    }

    @Test("never crashes on any text", arguments: 0..<50)
    func noise(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let alphabet = Array("0123456789.xX*^~<>=|- +abé")
        for _ in 0..<400 {
            let text = String(
                (0..<Int.random(in: 0...12, using: &generator)).compactMap { _ in
                    alphabet.randomElement(using: &generator)
                })
            _ = try? VersionRange(text).contains(Version(1, 2, 3))
            _ = try? Version(text)
        }
    }
}

extension Version {
    static func random(using generator: inout SeededGenerator) -> Version {
        let numbers = (0..<3).map { _ in Int.random(in: 0...3, using: &generator) }
        var labels: [PrereleaseIdentifier] = []
        if Int.random(in: 0..<3, using: &generator) == 0 {
            labels = (0..<Int.random(in: 1...2, using: &generator)).map { _ in
                Bool.random(using: &generator)
                    ? .number(.random(in: 0...3, using: &generator))
                    : .word(["a", "b", "rc"].randomElement(using: &generator) ?? "a")
            }
        }
        return Version(numbers[0], numbers[1], numbers[2], prerelease: labels)
    }
}
