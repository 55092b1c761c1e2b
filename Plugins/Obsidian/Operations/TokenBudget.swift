import KnapPlugin

/// How long an answer may be, in the tokens of a language model: about four characters of English each.
struct TokenBudget {
    /// Under what clients refuse, 25,000 in Claude Code.
    static let standard = 15_000
    static let charactersOfToken = 4

    private var left: Int
    private var hasTaken = false

    init(_ tokens: Int?) throws(VaultError) {
        guard (tokens ?? 100) >= 100 else { throw VaultError(.invalidArgument, "max_tokens must be at least 100") }
        left = min(tokens ?? Self.standard, 1_000_000) * Self.charactersOfToken
    }

    /// The first of the elements that fit together; at least one, so that the next page begins further on.
    mutating func fitting<Element>(_ elements: some Sequence<Element>, _ characters: (Element) -> Int) -> [Element] {
        var fitting: [Element] = []
        for element in elements {
            left -= characters(element) + 1
            guard left >= 0 || !hasTaken else { break }
            hasTaken = true
            fitting.append(element)
        }
        return fitting
    }

    /// The beginning of a text that is too long alone; nil for one that fits.
    func beginning(of text: Substring) -> Substring? {
        guard text.utf8.count > left else { return nil }
        var end = text.utf8.index(text.startIndex, offsetBy: left)
        while text.utf8[end] & 0xC0 == 0x80 { end = text.utf8.index(before: end) }
        return text[..<end]
    }
}
