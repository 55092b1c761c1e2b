import _StringProcessing

/// A regular expression of a schema: ECMA-262's syntax, on Unicode scalars, found anywhere in the text.
///
/// Matching backtracks: a pattern like `(a+)+$` can take time exponential in the text. Schemas come from manifests that
/// somebody chose to install; texts are as long as a message may be.
///
/// A class, because the size of a `Regex` is known at run time only, and would make that of every check so.
final class SchemaPattern: @unchecked Sendable {  // a compiled Regex is never changed, and lowers itself under a lock of its own
    let text: String
    private let regex: Regex<AnyRegexOutput>

    init(_ text: String) throws(SchemaError) {
        self.text = text
        do {
            regex = try Regex(text).matchingSemantics(.unicodeScalar).asciiOnlyDigits().asciiOnlyWordCharacters()
        } catch {
            throw SchemaError(
                code: .invalidPattern, pointer: "", message: "'\(text)' is not a regular expression: \(error)")
        }
    }

    func matches(_ string: String) -> Bool { (try? regex.firstMatch(in: string)) != nil }
}
