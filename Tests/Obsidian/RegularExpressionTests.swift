import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

@Suite("A regular expression")
struct RegularExpressionTests {
    private func end(of pattern: String, in text: String, ignoringCase: Bool = false) throws -> Int? {
        try RegularExpressionMatcher(RegularExpression(pattern), ignoresCase: ignoringCase) {}.firstEnd(
            in: Array(text.utf8))
    }

    @Test(
        "matches what JavaScript's would",
        arguments: [
            ("abc", "xabcx", true), ("abc", "ab c", false), ("a.c", "a\nc", false), ("a.c", "aéc", true),
            ("a|bc", "xbc", true),
            ("^b", "a\nb", true), ("^b", "ab", false), ("a$", "a\nb", true), ("a$", "ab", false),
            ("a$", "a\r\nb", true),
            (#"\d{4}-\d{2}"#, "on 2024-05 it", true), (#"\d{4}"#, "123 456", false), (#"^\d{2,3}$"#, "1234", false),
            (#"^\d{2,3}$"#, "123", true), (#"^\d{2,}$"#, "12345", true), ("x{,2}", "x{,2}", true), ("a{2", "a{2", true),
            (#"\bcat\b"#, "a cat.", true), (#"\bcat\b"#, "concat", false), (#"\Bcat"#, "concat", true),
            ("colou?r", "color", true),
            ("(ab)+c", "ababc", true), ("(?:ab|cd)*e", "xe", true), ("(?<y>a)b", "ab", true), ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false), (#"[\]\-]"#, "-", true), (#"[\w.]+@x"#, "a.b@x", true), ("[]", "a", false),
            ("[^]", "\n", true),
            (#"\s"#, "a\u{A0}b", true), (#"\S"#, " \t", false), (#"\x41\u0042"#, "AB", true), (#"\/"#, "a/b", true),
            ("a*?b", "aab", true), ("(a*)*b", "aaab", true), ("(|a)+", "", true), ("", "", true), ("ß", "straße", true),
        ])
    func matches(pattern: String, text: String, expected: Bool) throws {
        #expect(try (end(of: pattern, in: text) != nil) == expected)
    }

    @Test("case is ignored where that is asked for, in classes too")
    func ignoresCase() throws {
        for (pattern, text) in [("abc", "ABC"), ("[a-z]+1", "Q1"), ("É", "é"), ("[^a]b", "xB")] {
            #expect(try end(of: pattern, in: text, ignoringCase: true) != nil, "\(pattern)")
            #expect(try pattern == "[^a]b" || end(of: pattern, in: text) == nil || text == "xB", "\(pattern)")
        }
        #expect(try end(of: "^[^a]$", in: "A", ignoringCase: true) == nil)
    }

    @Test(
        "what is not supported or wrong is refused with its place",
        arguments: [
            ("(a", 1, "no ')'"), ("a)", 2, "no '('"), ("[a", 1, "no ']'"), ("*a", 1, "nothing to repeat"),
            ("a**", 3, "nothing to repeat"),
            ("a(?=b)", 2, "look-ahead"), ("(?<!b)", 1, "look-behind"), (#"(a)\1"#, 4, "references"),
            (#"\p{L}"#, 1, "not supported"),
            (#"a\"#, 2, "at the end"), ("a{3,2}", 2, "out of order"), ("a{9999}", 2, "1000"), ("[z-a]", 3, "later"),
            ("(a{500}){500}", 1, "too large"),
            (#"\xZZ"#, 1, "hexadecimal"), (String(repeating: "(", count: 100), 33, "levels"),
        ])
    func refuses(pattern: String, character: Int, reason: String) {
        let error = #expect(throws: PluginError.self) { try RegularExpression(pattern) }
        #expect(error?.message.contains("character \(character):") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
    }

    @Test(
        "no pattern takes more than time proportional to the text",
        arguments: [
            "(a+)+b", "(a|a)*b", "(a*)*b", "a*a*a*a*a*a*b", "(.*)*(.*)*x", "(a|aa)+$b", "(a?){30}a{30}b",
            "[ab]*a[ab]{12}c",
        ])
    func bounded(pattern: String) throws {
        let text = String(repeating: "a", count: 100_000)
        var found: Int?
        let time = try ContinuousClock().measure { found = try end(of: pattern, in: text) }
        #expect(found == nil)
        #expect(time < .seconds(20), "\(time)")
    }

    @Test("a run that takes too long is ended from outside")
    func ended() throws {
        struct Enough: Error {}
        var text = ""
        var random = SeededGenerator(seed: 7)
        for _ in 0..<200_000 { text.append(random.next() % 2 == 0 ? "a" : "b") }
        let matcher = RegularExpressionMatcher(try RegularExpression("[ab]*a[ab]{400}c"), ignoresCase: false) {
            throw Enough()
        }
        #expect(throws: Enough.self) { try matcher.firstEnd(in: Array(text.utf8)) }
    }

    @Test("agrees with a backtracking engine on random patterns and texts", arguments: 1...20 as ClosedRange<UInt64>)
    func agreement(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            let pattern = Self.pattern(&random, depth: 3)
            let other = try Regex(pattern)
            let matcher = RegularExpressionMatcher(try RegularExpression(pattern), ignoresCase: false) {}
            for _ in 0..<20 {
                let text = String((0..<random.next() % 9).map { _ in "abc"[Int(random.next() % 3)] })
                let expected = try other.firstMatch(in: text) != nil
                #expect(
                    try (matcher.firstEnd(in: Array(text.utf8)) != nil) == expected,
                    "seed \(seed): /\(pattern)/ in '\(text)'")
            }
        }
    }

    private static func pattern(_ random: inout SeededGenerator, depth: Int) -> String {
        switch depth == 0 ? random.next() % 4 : random.next() % 10 {
        case 0, 1: return "abc"[Int(random.next() % 3)].description
        case 2: return "[ab]"
        case 3: return "."
        case 4, 5: return pattern(&random, depth: depth - 1) + pattern(&random, depth: depth - 1)
        case 6: return "(" + pattern(&random, depth: depth - 1) + "|" + pattern(&random, depth: depth - 1) + ")"
        case 7:
            return "(" + pattern(&random, depth: depth - 1) + ")"
                + ["*", "+", "?", "{1,2}", "{2}"][Int(random.next() % 5)]
        case 8: return "^" + pattern(&random, depth: depth - 1)
        default: return pattern(&random, depth: depth - 1) + "$"
        }
    }
}

extension String {
    fileprivate subscript(place: Int) -> Character { self[index(startIndex, offsetBy: place)] }
}
