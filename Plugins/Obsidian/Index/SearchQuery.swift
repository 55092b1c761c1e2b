/// What a person typed to find notes, as a tree: Obsidian's query language (Help, "Search").
///
/// Pure: ``QueryParser`` makes it of text, and `description` is a text that makes it again. ``QueryPlan`` asks the index
/// for it, and ``QueryEvaluator`` decides it for one note.
indirect enum SearchQuery: Sendable, Equatable {
    /// What an operator looks at instead of the whole note, or how.
    enum Scope: String, Sendable, CaseIterable {
        case file, path, content, tag, line, block, section, task
        case todo = "task-todo"
        case done = "task-done"
        case matchCase = "match-case"
        case ignoreCase = "ignore-case"
    }

    enum Comparison: Character, Sendable, CaseIterable {
        case less = "<"
        case greater = ">"
    }

    case all([SearchQuery])
    case any([SearchQuery])
    case not(SearchQuery)
    case word(String)
    case phrase(String)
    case regex(String)
    case scoped(Scope, SearchQuery)
    /// A property of this name, with this value if there is one.
    case property(SearchQuery, SearchQuery?)
    /// Only as a property's value.
    case number(Comparison, Double)

    init(_ text: String) throws(VaultError) { self = try QueryParser.parse(text) }

    /// Whether it can be decided only with a note's text at hand.
    var readsText: Bool {
        switch self {
        case .all(let parts), .any(let parts): parts.contains(where: \.readsText)
        case .not(let part): part.readsText
        case .word, .phrase, .regex: true
        case .scoped(.file, let part), .scoped(.path, let part): part.hasScope
        case .scoped: true
        case .property, .number: false
        }
    }

    /// Whether an operator within leads back to the note.
    private var hasScope: Bool {
        switch self {
        case .all(let parts), .any(let parts): parts.contains(where: \.hasScope)
        case .not(let part), .scoped(.matchCase, let part), .scoped(.ignoreCase, let part): part.hasScope
        case .scoped: true
        case .word, .phrase, .regex, .property, .number: false
        }
    }
}

extension SearchQuery: CustomStringConvertible {
    var description: String {
        switch self {
        case .all(let parts): parts.map(\.inList).joined(separator: " ")
        case .any(let parts):
            parts.map { if case .all = $0 { $0.description } else { $0.inList } }.joined(separator: " OR ")
        case .not(let part): "-" + part.inList
        case .word(let text): text
        case .phrase(let text): "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
        case .regex(let pattern): "/" + pattern + "/"
        case .scoped(let scope, let part): scope.rawValue + ":" + part.inList
        case .property(let name, nil): "[\(name)]"
        case .property(let name, let value?): "[\(name):\(value)]"
        case .number(let comparison, let number): "\(comparison.rawValue)\(number)"
        }
    }

    private var inList: String {
        switch self {
        case .all, .any: "(\(self))"
        default: description
        }
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
