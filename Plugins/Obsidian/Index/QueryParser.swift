import KnapPlugin

/// Reads Obsidian's query language (Help, "Search").
///
///     query    = all *("OR" all)
///     all      = 1*term
///     term     = "-" term / "(" query ")" / phrase / regex / property / operator ":" term / word
///     property = "[" query [":" query] "]"
///
/// What looks like an operator and is none is a word: `http://x`. So are a `/` that no delimiter follows at its other
/// end, and `[[a link]]` as a whole.
struct QueryParser {
    /// Enough for what people write, and little enough that no query costs much by itself.
    private static let mostCharacters = 4000, mostTerms = 100, mostDepth = 16
    private static let operands = "a word, \"a phrase\", /a pattern/ or (a group)"

    /// Where a word ends beside white space.
    private enum Place { case text, propertyName, propertyValue }

    private let text: [Character]
    private var next = 0
    private var depth = 0
    private var terms = 0

    private init(_ text: [Character]) { self.text = text }

    static func parse(_ text: String) throws(VaultError) -> SearchQuery {
        guard text.utf8.count <= mostCharacters else {
            throw VaultError(.invalidArgument, "query is longer than \(mostCharacters) bytes")
        }
        guard !text.allSatisfy(\.isWhitespace) else {
            throw VaultError(
                .invalidArgument, "query is empty; give words, \"a phrase\", tag:name, path:text or [property:value]")
        }
        var parser = QueryParser(Array(text))
        let query = try parser.query(.text)
        if parser.next < parser.text.count {
            throw parser.error("this ')' closes no '('; for the text itself write \")\"")
        }
        return query
    }

    private func error(at place: Int? = nil, _ message: String) -> VaultError {
        VaultError(.invalidArgument, "query, character \((place ?? next) + 1): \(message)")
    }

    // MARK: Lists

    private mutating func query(_ place: Place) throws(VaultError) -> SearchQuery {
        var alternatives: [SearchQuery] = [try all(place)]
        while takeOr(place) { alternatives.append(try all(place)) }
        return alternatives.count == 1 ? alternatives[0] : .any(alternatives)
    }

    private mutating func all(_ place: Place) throws(VaultError) -> SearchQuery {
        var parts: [SearchQuery] = []
        skipBlanks()
        while !isAtEnd(of: place), !isAtOr(place) {
            parts.append(try term(place))
            skipBlanks()
        }
        guard let first = parts.first else {
            throw error(
                "a word, a phrase, a group or an operator is missing here; as text OR and () are written \"OR\", \"()\""
            )
        }
        return parts.count == 1 ? first : .all(parts)
    }

    private func isAtEnd(of place: Place) -> Bool {
        guard next < text.count else { return true }
        switch place {
        case .text: return text[next] == ")"
        case .propertyName: return text[next] == ")" || text[next] == "]" || text[next] == ":"
        case .propertyValue: return text[next] == ")" || text[next] == "]"
        }
    }

    private func isAtOr(_ place: Place) -> Bool {
        next + 1 < text.count && text[next] == "O" && text[next + 1] == "R"
            && (next + 2 == text.count || endsWord(text[next + 2], place))
    }

    private mutating func takeOr(_ place: Place) -> Bool {
        guard isAtOr(place) else { return false }
        next += 2
        return true
    }

    private mutating func skipBlanks() {
        while next < text.count, text[next].isWhitespace { next += 1 }
    }

    // MARK: Terms

    private mutating func term(_ place: Place) throws(VaultError) -> SearchQuery {
        depth += 1
        terms += 1
        defer { depth -= 1 }
        guard depth <= Self.mostDepth else { throw error("more than \(Self.mostDepth) levels of groups and operators") }
        guard terms <= Self.mostTerms else { throw error("more than \(Self.mostTerms) terms") }
        switch text[next] {
        case "-" where next + 1 < text.count && !endsTerm(text[next + 1], place):
            next += 1
            return .not(try term(place))
        case "(": return try group(place)
        case "\"": return .phrase(try phrase())
        case "[" where place == .text:
            if let link = wikilink() { return .phrase(link) }
            return try property()
        default: break
        }
        if let pattern = regex(place) {
            _ = try RegularExpression(pattern.text, at: pattern.place)
            return .regex(pattern.text)
        }
        if let scope = scope(place) {
            guard next < text.count, !endsTerm(text[next], place) else {
                throw error("what \(scope.rawValue): looks for is missing directly behind it: \(Self.operands)")
            }
            return .scoped(scope, try term(place))
        }
        return try word(place)
    }

    private mutating func group(_ place: Place) throws(VaultError) -> SearchQuery {
        let start = next
        next += 1
        let inner = try query(place)
        guard next < text.count, text[next] == ")" else {
            throw error(at: start, "this '(' has no ')'; for the text itself write \"(\"")
        }
        next += 1
        return inner
    }

    private mutating func phrase() throws(VaultError) -> String {
        let start = next
        var phrase = ""
        next += 1
        while next < text.count, text[next] != "\"" {
            if text[next] == "\\", next + 1 < text.count, text[next + 1] == "\"" || text[next + 1] == "\\" { next += 1 }
            phrase.append(text[next])
            next += 1
        }
        guard next < text.count else {
            throw error(at: start, "this quote has no end; within a phrase a quote is written \\\"")
        }
        next += 1
        guard !phrase.isEmpty else { throw error(at: start, "this phrase is empty") }
        return phrase
    }

    /// `[[a link]]` is looked for as it stands.
    private mutating func wikilink() -> String? {
        guard next + 1 < text.count, text[next + 1] == "[" else { return nil }
        let end = (next..<text.count - 1).first { text[$0] == "]" && text[$0 + 1] == "]" }
        guard let end else { return nil }
        defer { next = end + 2 }
        return String(text[next...end + 1])
    }

    private mutating func property() throws(VaultError) -> SearchQuery {
        let start = next
        next += 1
        let name = try query(.propertyName)
        var value: SearchQuery?
        if next < text.count, text[next] == ":" {
            next += 1
            skipBlanks()
            guard next < text.count, text[next] != "]" else {
                throw error("a value is missing; [name] is any value, [name:null] is none")
            }
            value = try query(.propertyValue)
        }
        guard next < text.count, text[next] == "]" else {
            throw error(
                at: start, "this '[' has no ']'; properties are [name], [name:value]; for the text itself write \"[\"")
        }
        next += 1
        return .property(name, value)
    }

    /// A pattern between slashes; the last is the first that is neither escaped nor in a class, and ends the term.
    private mutating func regex(_ place: Place) -> (text: String, place: Int)? {
        guard text[next] == "/" else { return nil }
        var end = next + 1
        var inClass = false
        while end < text.count, inClass || text[end] != "/" {
            switch text[end] {
            case "\\": end += 1
            case "[": inClass = true
            case "]": inClass = false
            default: break
            }
            end += 1
        }
        guard end < text.count, end > next + 1, end + 1 == text.count || endsTerm(text[end + 1], place) else {
            return nil
        }
        defer { next = end + 1 }
        return (String(text[next + 1..<end]), next + 1)
    }

    /// In a property only the operators of case have a meaning.
    private mutating func scope(_ place: Place) -> SearchQuery.Scope? {
        let name = text[next...].prefix { $0.isLetter || $0 == "-" }
        guard name.endIndex < text.count, text[name.endIndex] == ":", place != .propertyName else { return nil }
        guard let scope = SearchQuery.Scope(rawValue: String(name).lowercased()) else { return nil }
        guard place == .text || scope == .matchCase || scope == .ignoreCase else { return nil }
        next = name.endIndex + 1
        return scope
    }

    private mutating func word(_ place: Place) throws(VaultError) -> SearchQuery {
        let word = text[next...].prefix { !endsWord($0, place) }
        guard !word.isEmpty else {
            throw error("'\(text[next])' has no meaning here; for the text itself write it in quotes")
        }
        next = word.endIndex
        if place == .propertyValue, let comparison = SearchQuery.Comparison(rawValue: word[word.startIndex]),
            let number = Double(String(word.dropFirst())), number.isFinite
        {
            return .number(comparison, number)
        }
        return .word(String(word))
    }

    private func endsTerm(_ character: Character, _ place: Place) -> Bool {
        character.isWhitespace || character == ")" || place != .text && character == "]"
            || place == .propertyName && character == ":"
    }

    private func endsWord(_ character: Character, _ place: Place) -> Bool {
        endsTerm(character, place) || character == "(" || character == "\""
    }
}
