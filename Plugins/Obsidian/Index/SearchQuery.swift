/// What a person typed to find notes, taken apart.
///
/// Words are joined by AND; `OR` separates alternatives; `-word` excludes; `"two words"` is a phrase; `tag:`, `path:`,
/// `file:` and `[property]` or `[property:value]` narrow. Nothing in it is an error: what has no meaning is searched for.
struct SearchQuery: Sendable, Equatable {
    enum Term: Sendable, Equatable {
        case word(String)
        case phrase(String)
        case tag(String)
        case path(String)
        case file(String)
        case property(String, String?)
    }

    struct Condition: Sendable, Equatable {
        var term: Term
        var isNegated: Bool
    }

    /// Any alternative may hold; within one all conditions must.
    var alternatives: [[Condition]]

    init(_ text: String) {
        var alternatives: [[Condition]] = [[]]
        var rest = text[...]
        while let token = Self.nextToken(&rest) {
            if token == .word("OR"), !alternatives[alternatives.count - 1].isEmpty {
                alternatives.append([])
                continue
            }
            alternatives[alternatives.count - 1].append(Self.condition(token))
        }
        self.alternatives = alternatives.filter { !$0.isEmpty }
    }

    /// Words and phrases that count for the match, for snippets.
    var positiveTexts: [String] {
        alternatives.joined().compactMap { condition in
            guard !condition.isNegated else { return nil }
            switch condition.term {
            case .word(let text), .phrase(let text): return text
            default: return nil
            }
        }
    }

    // MARK: Tokens

    private enum Token: Equatable {
        case word(String)
        case quoted(String)
        case bracketed(String)
        case negatedQuoted(String)
        case negatedBracketed(String)
    }

    private static func nextToken(_ rest: inout Substring) -> Token? {
        rest = rest.drop { $0.isWhitespace }
        guard let first = rest.first else { return nil }
        let negated = first == "-" && rest.count > 1
        let start = negated ? rest.dropFirst() : rest
        if let (inner, after) = enclosed(start, "\"", "\"") {
            rest = after
            return negated ? .negatedQuoted(inner) : .quoted(inner)
        }
        if let (inner, after) = enclosed(start, "[", "]") {
            rest = after
            return negated ? .negatedBracketed(inner) : .bracketed(inner)
        }
        var word = rest.prefix { !$0.isWhitespace }
        // A quoted value may hold spaces: path:"Daily Notes".
        if let colon = word.firstIndex(of: ":"), word.index(after: colon) < rest.endIndex,
            let (inner, after) = enclosed(rest[word.index(after: colon)...], "\"", "\"")
        {
            let key = rest[..<word.index(after: colon)]
            rest = after
            return .word(key + inner)
        }
        rest = rest[word.endIndex...]
        word = word.drop { $0 == "\"" }
        return .word(String(word))
    }

    private static func enclosed(_ text: Substring, _ open: Character, _ close: Character) -> (String, Substring)? {
        guard text.first == open, let end = text.dropFirst().firstIndex(of: close) else { return nil }
        return (String(text[text.index(after: text.startIndex)..<end]), text[text.index(after: end)...])
    }

    private static func condition(_ token: Token) -> Condition {
        switch token {
        case .quoted(let text): Condition(term: .phrase(text), isNegated: false)
        case .negatedQuoted(let text): Condition(term: .phrase(text), isNegated: true)
        case .bracketed(let text): Condition(term: property(text), isNegated: false)
        case .negatedBracketed(let text): Condition(term: property(text), isNegated: true)
        case .word(let text):
            text.hasPrefix("-") && text.count > 1
                ? Condition(term: word(String(text.dropFirst())), isNegated: true)
                : Condition(term: word(text), isNegated: false)
        }
    }

    private static func property(_ text: String) -> Term {
        let parts = text.split(separator: ":", maxSplits: 1).map { String($0.trimmed) }
        return .property(parts.first ?? "", parts.count > 1 ? parts[1] : nil)
    }

    private static func word(_ text: String) -> Term {
        for (prefix, make) in [("tag:", Term.tag), ("path:", Term.path), ("file:", Term.file)] {
            if text.lowercased().hasPrefix(prefix), text.count > prefix.count {
                let value = String(text.dropFirst(prefix.count))
                return make(prefix == "tag:" && value.hasPrefix("#") ? String(value.dropFirst()) : value)
            }
        }
        if text.hasPrefix("#"), text.count > 1 { return .tag(String(text.dropFirst())) }
        return .word(text)
    }
}

extension StringProtocol {
    /// Without white space at either end.
    var trimmed: SubSequence {
        let start = firstIndex { !$0.isWhitespace } ?? endIndex
        let end = lastIndex { !$0.isWhitespace }.map { index(after: $0) } ?? start
        return self[start..<end]
    }
}
