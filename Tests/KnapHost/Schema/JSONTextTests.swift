import KnapJSON
import Testing

@testable import KnapHost

@Suite("The text of a JSON value")
struct JSONTextTests {
    private func string(_ bytes: [UInt8]) throws(JSONParseError) -> String? { try JSON.parse(bytes).stringValue }

    @Test("is read right wherever in a string something special stands", arguments: 0..<40)
    func specialAnywhere(place: Int) throws {
        let before = String(repeating: "knap ", count: 8).prefix(place)
        for after in ["", "x", "1234567", String(repeating: "y", count: 33)] {
            func read(_ middle: [UInt8]) throws(JSONParseError) -> String? {
                try string([0x22] + Array(before.utf8) + middle + Array(after.utf8) + [0x22])
            }
            #expect(try read([]) == before + after)
            for (escaped, plain) in [("\\\"", "\""), ("\\\\", "\\"), ("\\n", "\n"), ("\\u00e9", "é"), ("é", "é"), ("🪢", "🪢"), ("\u{7f}", "\u{7f}")] {
                #expect(try read(Array(escaped.utf8)) == before + plain + after)
            }
            for control in UInt8(0)..<0x20 {
                #expect { try read([control]) } throws: { ($0 as? JSONParseError)?.position.offset == 1 + place }
            }
            for wrong in [[0x80], [0xC3], [0xFF], [0xED, 0xA0, 0x80]] as [[UInt8]] {
                #expect { try read(wrong) } throws: { ($0 as? JSONParseError)?.code == .invalidUTF8 }
            }
            #expect { try string([0x22] + Array((before + after).utf8)) } throws: {
                ($0 as? JSONParseError)?.code == .unexpectedEnd
            }
        }
    }

    @Test("compares as a number by value, whether it is short or long, whole or not")
    func numbers() throws {
        let ordered = [
            "-1e400", "-1000000000000000000000", "-999999999999999999", "-12", "-1.5", "-1", "-0", "0.5", "1", "1.5", "12", "120",
            "999999999999999999", "1000000000000000000", "9999999999999999999999", "1e400",
        ]
        let numbers = try ordered.map { try #require(try JSON.parse($0).numberValue) }
        for (left, a) in numbers.enumerated() {
            for (right, b) in numbers.enumerated() {
                #expect((a < b) == (left < right), "\(a) < \(b)")
                #expect((a == b) == (left == right), "\(a) == \(b)")
            }
        }
        #expect(numbers.map(\.isInteger) == ordered.map { !$0.contains(".") })
    }
}
