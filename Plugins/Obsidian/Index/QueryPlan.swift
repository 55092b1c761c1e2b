import GRDB
import KnapPlugin

/// What the index knows of a query without reading a note: a condition that only notes it finds fulfil, and one that
/// all notes it finds fulfil. Where the two are one, no text is read.
struct QueryPlan {
    private(set) var certain: NoteFilter
    private(set) var possible: NoteFilter
    private(set) var isExact: Bool
    /// The words that count for the rank, as FTS5 takes them; empty for none.
    private(set) var ranking = ""
    /// Whether what is certain looks only for beginnings of words, as the rank does.
    private(set) var isOfBeginnings = false
    /// Whether notes are read because their grams are not known yet.
    private(set) var lacksGrams = false

    /// A word that stands in no more tokens than these is looked up in FTS5; otherwise texts are read.
    private static let mostTerms = 300

    private init(_ certain: NoteFilter, _ possible: NoteFilter) {
        self.certain = certain
        self.possible = possible
        isExact = false
    }

    private init(_ exact: NoteFilter) {
        self.init(exact, exact)
        isExact = true
    }

    private static let unknown = QueryPlan(.none, .all)

    /// Looks the words up in the vocabulary, and leaves to the grams what it does not have.
    init(_ query: SearchQuery, _ vocabulary: Vocabulary, _ grams: NoteIndex.GramState) throws {
        var planner = Planner(vocabulary: vocabulary, grams: grams)
        self = try planner.plan(query, .note)
        ranking = planner.ranked.joined(separator: " OR ")
        isOfBeginnings = !planner.hasInner
        lacksGrams = planner.usesGrams && !grams.isComplete
    }

    /// The notes of which only their texts can tell.
    func open(in filter: NoteFilter) -> NoteFilter { .all([possible, certain.negated, filter]) }

    private static func all(_ parts: [QueryPlan]) -> QueryPlan {
        var plan = QueryPlan(.all(parts.map(\.certain)), .all(parts.map(\.possible)))
        plan.isExact = parts.allSatisfy(\.isExact)
        return plan
    }

    private static func any(_ parts: [QueryPlan]) -> QueryPlan {
        var plan = QueryPlan(.any(parts.map(\.certain)), .any(parts.map(\.possible)))
        plan.isExact = parts.allSatisfy(\.isExact)
        return plan
    }

    private var negated: QueryPlan {
        var plan = QueryPlan(possible.negated, certain.negated)
        plan.isExact = isExact
        return plan
    }

    private var onlyPossible: QueryPlan { QueryPlan(.none, possible) }

    // MARK: Planning

    private enum Subject { case note, text, part, file, path }

    private struct Planner {
        let vocabulary: Vocabulary
        let grams: NoteIndex.GramState
        var ranked: [String] = []
        var hasInner = false
        var usesGrams = false
        private var isNegated = false
        private var isCased = false

        init(vocabulary: Vocabulary, grams: NoteIndex.GramState) {
            self.vocabulary = vocabulary
            self.grams = grams
        }

        mutating func plan(_ query: SearchQuery, _ subject: Subject) throws -> QueryPlan {
            switch query {
            case .all(let parts): return QueryPlan.all(try parts.map { try plan($0, subject) })
            case .any(let parts): return QueryPlan.any(try parts.map { try plan($0, subject) })
            case .not(let part):
                isNegated.toggle()
                defer { isNegated.toggle() }
                let plan = try plan(part, subject)
                // What some part of a note lacks, another may have.
                return subject == .part ? .unknown : plan.negated
            case .word(let text), .phrase(let text): return try words(text, subject)
            case .regex, .number: return .unknown
            case .scoped(let scope, let part):
                switch scope {
                case .file: return try plan(part, .file)
                case .path: return try plan(part, .path)
                case .content: return try plan(part, subject == .part ? .part : .text)
                case .tag:
                    let name: String
                    switch part {
                    case .word(let text), .phrase(let text): name = text
                    default: return .unknown
                    }
                    return exactly(.condition(.tag(name)), subject)
                case .matchCase, .ignoreCase:
                    let before = isCased
                    isCased = scope == .matchCase
                    defer { isCased = before }
                    return try plan(part, subject)
                case .line, .block, .section, .task, .todo, .done: return try plan(part, .part).onlyPossible
                }
            case .property(.word(let name), let value), .property(.phrase(let name), let value):
                guard name.unicodeScalars.allSatisfy(\.isASCII) else { return .unknown }
                let plan = exactly(.condition(.hasProperty(name)), subject)
                return value == nil ? plan : plan.onlyPossible
            case .property: return .unknown
            }
        }

        /// What is asked without regard to case is no more than possible where case counts, or in a part of a note.
        private func exactly(_ filter: NoteFilter, _ subject: Subject) -> QueryPlan {
            let plan = QueryPlan(filter)
            return isCased || subject == .part ? plan.onlyPossible : plan
        }

        private mutating func words(_ text: String, _ subject: Subject) throws -> QueryPlan {
            let folded = Folding.text(text)
            switch subject {
            case .file: return exactly(.condition(SQLCondition("instr(note.folded_name, ?)", [folded])), subject)
            case .path: return exactly(.condition(SQLCondition("instr(note.folded_path, ?)", [folded])), subject)
            case .note, .text, .part: break
            }
            let tokens = try Folding.tokens(text)
            guard let first = tokens.first else { return byGrams(folded, subject, .unknown) }
            let rank = beginning(tokens.joined(separator: " "))
            if !isNegated, !ranked.contains(rank) { ranked.append(rank) }
            // Only the first may be the end of a longer token, and only the last the beginning of one.
            let others = tokens.dropFirst().joined(separator: " ")
            var plans = others.isEmpty ? [] : [QueryPlan(match([beginning(others)], subject))]
            var isKnown = !folded.unicodeScalars.contains(where: Folding.isEastern)
            if isKnown, let inner = vocabulary.terms(with: Array(first.utf8), most: QueryPlan.mostTerms) {
                hasInner = hasInner || !inner.isEmpty
                plans.append(QueryPlan(match([beginning(first)] + inner.map { "\"\($0)\"" }, subject)))
            } else {
                isKnown = false
                plans.append(QueryPlan(match([beginning(first)], subject), .all))
            }
            let plan = QueryPlan.all(plans)
            let isOneToken = tokens.count == 1 && folded == first
            if isOneToken, !isCased, subject != .part { return isKnown ? plan : byGrams(folded, subject, plan) }
            return isOneToken && isKnown ? plan.onlyPossible : byGrams(folded, subject, plan.onlyPossible)
        }

        /// What is known without the grams, and what they add to it.
        private mutating func byGrams(_ folded: String, _ subject: Subject, _ known: QueryPlan) -> QueryPlan {
            guard let (match, isExact) = Grams.match(folded) else { return known }
            usesGrams = true
            let found = NoteFilter.condition(
                SQLCondition("note.id IN (SELECT rowid FROM gram WHERE gram MATCH ?)", [match]))
            let isDecided = isExact && subject == .note && !isCased
            if isDecided, grams.isComplete { return QueryPlan(found) }
            var possible = found
            if !grams.isComplete { possible = .any([found, .condition(SQLCondition("note.id > ?", [grams.last]))]) }
            return QueryPlan(isDecided ? .any([known.certain, found]) : known.certain, .all([known.possible, possible]))
        }

        private func beginning(_ text: String) -> String { "\"\(text)\"*" }

        private func match(_ terms: [String], _ subject: Subject) -> NoteFilter {
            let any = terms.joined(separator: " OR ")
            return .match(subject == .note ? any : "body : (\(any))")
        }
    }
}

/// A condition on notes; what FTS5 can decide by itself is kept together, because one question to it costs least.
indirect enum NoteFilter: Sendable {
    case all, none
    /// The notes that FTS5 finds.
    case match(String)
    /// Those it does not.
    case unmatched(String)
    case condition(SQLCondition)
    case unfulfilled(SQLCondition)

    static func all(_ filters: [NoteFilter]) -> NoteFilter {
        var matches: [String] = []
        var unmatched: [String] = []
        var conditions: [SQLCondition] = []
        for filter in filters {
            switch filter {
            case .all: continue
            case .none: return .none
            case .match(let text): matches.append(text)
            case .unmatched(let text): unmatched.append(text)
            case .condition(let condition): conditions.append(condition)
            case .unfulfilled: conditions.append(filter.condition)
            }
        }
        var filter = NoteFilter.all
        if !matches.isEmpty {
            let all = Self.joined(matches, "AND")
            filter = .match(unmatched.isEmpty ? all : "(\(all)) NOT (\(Self.joined(unmatched, "OR")))")
        } else if !unmatched.isEmpty {
            filter = .unmatched(Self.joined(unmatched, "OR"))
        }
        if filters.count == 1 { return filters[0] }
        guard !conditions.isEmpty else { return filter }
        if case .all = filter {} else { conditions.insert(filter.condition, at: 0) }
        return .condition(.joined(conditions, "AND"))
    }

    static func any(_ filters: [NoteFilter]) -> NoteFilter {
        all(filters.map(\.negated).filter { if case .all = $0 { false } else { true } }).negated
    }

    var negated: NoteFilter {
        switch self {
        case .all: .none
        case .none: .all
        case .match(let text): .unmatched(text)
        case .unmatched(let text): .match(text)
        case .condition(let condition): .unfulfilled(condition)
        case .unfulfilled(let condition): .condition(condition)
        }
    }

    static func ids(_ ids: [Int64]) -> NoteFilter {
        guard !ids.isEmpty else { return .none }
        return .condition(
            SQLCondition(
                "note.id IN (SELECT value FROM json_each(?))", ["[\(ids.map(String.init).joined(separator: ","))]"]))
    }

    private static func joined(_ texts: [String], _ word: String) -> String {
        texts.count == 1 ? texts[0] : texts.map { "(\($0))" }.joined(separator: " \(word) ")
    }

    var condition: SQLCondition {
        switch self {
        case .all: SQLCondition()
        case .none: SQLCondition("0")
        case .match(let text): SQLCondition("note.id IN (SELECT rowid FROM content WHERE content MATCH ?)", [text])
        case .unmatched(let text):
            SQLCondition("note.id NOT IN (SELECT rowid FROM content WHERE content MATCH ?)", [text])
        case .condition(let condition): condition
        case .unfulfilled(let condition): SQLCondition("NOT (\(condition.sql))", condition.arguments)
        }
    }
}
