import Testing

@testable import @identifier@

@Test(arguments: [("two words", 2), (" tabs\tand\nlines  ", 3), ("", 0)])
func wordsAreCounted(text: String, words: Int) {
    #expect(Words.words(in: text) == words)
}
