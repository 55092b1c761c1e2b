/// A query as search by meaning takes it: its words are what is meant, and its operators say which notes count.
struct MeaningQuery: Sendable, Equatable {
    /// In order, with those of phrases.
    var words: [String] = []
    /// What every note must fulfil; nil for anything.
    var filter: SearchQuery?

    init(_ query: SearchQuery) {
        var filters: [SearchQuery] = []
        let parts = if case .all(let parts) = query { parts } else { [query] }
        for part in parts {
            words += Self.words(part)
            if !Self.isOfWords(part) { filters.append(part) }
        }
        filter = filters.count > 1 ? .all(filters) : filters.first
    }

    var text: String { words.joined(separator: " ") }

    private static func words(_ query: SearchQuery) -> [String] {
        switch query {
        case .word(let text), .phrase(let text): [text]
        case .all(let parts), .any(let parts): parts.flatMap(words)
        case .not, .regex, .scoped, .property, .number: []
        }
    }

    /// Whether it asks for nothing but words, one by one.
    private static func isOfWords(_ query: SearchQuery) -> Bool {
        switch query {
        case .word: true
        case .all(let parts), .any(let parts): parts.allSatisfy(isOfWords)
        case .phrase, .not, .regex, .scoped, .property, .number: false
        }
    }
}
