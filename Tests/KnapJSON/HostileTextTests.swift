import KnapJSON
import Testing

@Suite struct HostileTextTests {
    private func code(_ text: String, _ limits: JSONLimits = .standard) -> JSONParseError.Code? {
        do throws(JSONParseError) {
            _ = try JSON.parse(text, limits: limits)
            return nil
        } catch { return error.code }
    }

    @Test(arguments: [1, 511, 512, 513, 100_000])
    func `arrays and objects lie in one another so deep and no deeper`(depth: Int) {
        let arrays = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        let objects = String(repeating: #"{"a":"#, count: depth) + "1" + String(repeating: "}", count: depth)
        #expect(code(arrays) == (depth > 512 ? .tooDeep : nil) && code(objects) == (depth > 512 ? .tooDeep : nil))
        #expect(code(String(repeating: "[", count: depth)) == (depth > 512 ? .tooDeep : .unexpectedEnd))
    }

    @Test(arguments: [(3, "[1,2]"), (3, #"{"a":{"b":1}}"#), (1, "1"), (4, "[[],[],[]]")])
    func `every value counts, those in others too`(values: Int, text: String) {
        #expect(code(text, JSONLimits(maximumValues: values)) == nil)
        #expect(code(text, JSONLimits(maximumValues: values - 1)) == .tooManyValues)
    }

    @Test func `numbers of any length keep their text`() throws {
        for text in [String(repeating: "7", count: 400), "-0", "1e400", "1E-999999999999", "0." + String(repeating: "3", count: 400)] {
            #expect(try JSON.parse(text).serialized() == text)
        }
        #expect(try JSON.parse(String(repeating: "7", count: 400)).intValue == nil)
    }

    @Test(arguments: [#""\ud800""#, #""\udc00""#, #""\ud800\ud800""#, #""\ud800x""#, #""\ud800\n""#, #""\uD83D\u0041""#, #""\ud83d"#])
    func `half of a surrogate pair is refused`(text: String) {
        #expect(code(text) == .invalidEscape)
    }

    @Test func `names are the same only when their code points are`() throws {
        let text = "{\"\u{e9}\":1,\"e\u{301}\":2}"
        let object = try JSON.parse(text)
        #expect(object.serialized() == text && object["\u{e9}"] == 1 && object["e\u{301}"] == 2)
        // Also where there is an index.
        let many = try JSON.parse("{" + (0..<50).map { #""\#($0)":0,"# }.joined() + text.dropFirst())
        #expect(many.objectValue?.count == 52 && many["\u{e9}"] == 1 && many["e\u{301}"] == 2)
        #expect(try JSON.parse("{\"\u{e9}\":1}") != JSON.parse("{\"e\u{301}\":1}"))
    }

    @Test func `the last of two members with one name counts, in the place of the first`() throws {
        #expect(try JSON.parse(#"{"a":1,"b":2,"a":3}"#).serialized() == #"{"a":3,"b":2}"#)
        #expect(code(#"{"a":1,"a":1}"#, JSONLimits(duplicateNames: .reject)) == .duplicateName)
        let wide = "{" + (0..<100_000).map { #""\#($0 % 1000)":\#($0)"# }.joined(separator: ",") + "}"
        let object = try JSON.parse(wide)
        #expect(object.objectValue?.count == 1000 && object["999"] == 99_999)
    }

    @Test func `what is wrong is quoted in short`() throws {
        let error = #expect(throws: JSONParseError.self) { try JSON.parse("{\"\(String(repeating: "x", count: 100_000))\" 1}") }
        #expect(error?.message.utf8.count ?? .max < 200)
    }
}
