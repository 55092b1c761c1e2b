import KnapJSON
import KnapPlugin

/// Decides a query for one note after the other, and says where in it is what was looked for.
final class QueryEvaluator {
    private let query: SearchQuery
    private let check: () throws -> Void
    private var matchers: [Pattern: RegularExpressionMatcher] = [:]

    private struct Pattern: Hashable {
        var text: String
        var matchesCase: Bool
    }

    /// What the words of a query are compared with.
    private enum Subject {
        /// A note's title and its text.
        case note
        case lines(Range<Int>)
        /// A file's name or path.
        case name(String)
        case tags([String])
        case propertyName(String)
        case values([JSON])
    }

    /// `check` is called again and again, and throws to end what takes too long.
    init(_ query: SearchQuery, check: @escaping () throws -> Void = {}) {
        self.query = query
        self.check = check
    }

    func matches(_ note: NoteText) throws -> Bool {
        try check()
        return try matches(query, .note, false, note)
    }

    private func matches(_ query: SearchQuery, _ subject: Subject, _ cased: Bool, _ note: NoteText) throws -> Bool {
        switch query {
        case .all(let parts): return try parts.allSatisfy { try matches($0, subject, cased, note) }
        case .any(let parts): return try parts.contains { try matches($0, subject, cased, note) }
        case .not(let part): return try !matches(part, subject, cased, note)
        case .word(let text): return matches(text, subject, cased, note, isWhole: false)
        case .phrase(let text): return matches(text, subject, cased, note, isWhole: true)
        case .regex(let pattern):
            let matcher = try matcher(pattern, cased)
            if try regexTexts(subject, note).contains(where: { try matcher.firstEnd(in: Array($0.utf8)) != nil }) {
                return true
            }
            guard let lines = lines(subject, note) else { return false }
            return try matcher.firstEnd(in: note.exact.bytes, note.exact.range(lines)) != nil
        case .scoped(let scope, let part):
            try check()
            let region = lines(subject, note) ?? note.lines
            switch scope {
            case .file: return try matches(part, .name(note.name), cased, note)
            case .path: return try matches(part, .name(note.path), cased, note)
            case .content: return try matches(part, .lines(region), cased, note)
            case .tag: return try matches(part, .tags(tags(subject, note)), cased, note)
            case .matchCase: return try matches(part, subject, true, note)
            case .ignoreCase: return try matches(part, subject, false, note)
            case .line, .block, .section, .task, .todo, .done:
                return try units(scope, region, note).contains { try matches(part, .lines($0), cased, note) }
            }
        case .property(let name, let value):
            return try note.properties.members.contains { member in
                try matches(name, .propertyName(member.name), cased, note)
                    && (value.map { try matches($0, .values(Self.elements(member.value)), cased, note) } ?? true)
            }
        case .number(let comparison, let number):
            guard case .values(let values) = subject else { return false }
            return values.contains { value in
                guard case .number = value, let value = value.doubleValue else { return false }
                return comparison == .less ? value < number : value > number
            }
        }
    }

    // MARK: Texts

    private func matches(_ text: String, _ subject: Subject, _ cased: Bool, _ note: NoteText, isWhole: Bool) -> Bool {
        func form(_ text: String) -> [UInt8] { cased ? Array(text.utf8) : Folding.bytes(text) }
        func contains(_ whole: [UInt8]) -> Bool { whole.firstPlace(of: form(text), in: whole.indices) != nil }
        switch subject {
        case .note:
            return contains(cased ? Array(note.title.utf8) : note.foldedTitle)
                || contains(note.view(matchingCase: cased).bytes)
        case .lines(let lines):
            let view = note.view(matchingCase: cased)
            return view.bytes.firstPlace(of: form(text), in: view.range(lines)) != nil
        case .name(let name): return contains(form(name))
        case .tags(let tags):
            func form(_ text: String) -> String { cased ? text : folded(text) }
            let wanted = form(text.hasPrefix("#") ? String(text.dropFirst()) : text)
            return tags.contains { form($0) == wanted || form($0).hasPrefix(wanted + "/") }
        case .propertyName(let name): return form(name) == form(text)
        case .values(let values):
            if !isWhole, text == "null" {
                return values.isEmpty || values.contains { $0 == .null || $0 == .string("") }
            }
            return values.contains { value in
                let value = form(Self.text(value))
                return isWhole ? value == form(text) : value.firstPlace(of: form(text), in: value.indices) != nil
            }
        }
    }

    private static func elements(_ value: JSON) -> [JSON] { value.arrayValue ?? [value] }

    private static func text(_ value: JSON) -> String { value == .null ? "" : value.stringValue ?? value.serialized() }

    /// What a regular expression is tried on beside the lines of the note.
    private func regexTexts(_ subject: Subject, _ note: NoteText) -> [String] {
        switch subject {
        case .note: [note.title]
        case .lines: []
        case .name(let name), .propertyName(let name): [name]
        case .tags(let tags): tags.map { "#" + $0 }
        case .values(let values): values.map(Self.text)
        }
    }

    private func matcher(_ pattern: String, _ cased: Bool) throws -> RegularExpressionMatcher {
        let key = Pattern(text: pattern, matchesCase: cased)
        if let matcher = matchers[key] { return matcher }
        let matcher = RegularExpressionMatcher(try RegularExpression(pattern), ignoresCase: !cased, check: check)
        matchers[key] = matcher
        return matcher
    }

    // MARK: Parts of a note

    private func lines(_ subject: Subject, _ note: NoteText) -> Range<Int>? {
        switch subject {
        case .note: note.lines
        case .lines(let lines): lines
        case .name, .tags, .propertyName, .values: nil
        }
    }

    private func tags(_ subject: Subject, _ note: NoteText) -> [String] {
        let region = lines(subject, note) ?? note.lines
        return note.tags.filter { region.contains($0.line) }.map(\.name)
    }

    private func units(_ scope: SearchQuery.Scope, _ region: Range<Int>, _ note: NoteText) -> [Range<Int>] {
        switch scope {
        case .line: return region.map { $0..<$0 + 1 }
        case .section: return Self.within(region, note.sections) { $0 }.map { $0.clamped(to: region) }
        default:
            return Self.within(region, note.blocks, \.lines).filter { block in
                switch scope {
                case .task: block.mark != nil
                case .todo: block.mark == " "
                case .done: block.mark != nil && block.mark != " "
                default: true
                }
            }.map { $0.lines.clamped(to: region) }
        }
    }

    /// Those that share lines with a region; they are in order.
    private static func within<Unit>(_ region: Range<Int>, _ units: [Unit], _ lines: (Unit) -> Range<Int>)
        -> ArraySlice<Unit>
    {
        var low = 0
        var high = units.count
        while low < high {
            let middle = (low + high) / 2
            if lines(units[middle]).upperBound <= region.lowerBound { low = middle + 1 } else { high = middle }
        }
        return units[low...].prefix { lines($0).lowerBound < region.upperBound }
    }
}

// MARK: - Where it is

extension QueryEvaluator {
    /// A line of a note, from 0, and after how many characters of it what was looked for begins or, of a pattern, ends.
    struct Place: Equatable {
        var line: Int
        var column: Int
    }

    /// The first lines of a note that the query found, which show what each term that is not excluded matched.
    func places(in note: NoteText, most: Int) throws -> [Place] {
        guard try matches(note) else { return [] }
        var columns: [Int: Int] = [:]
        try collect(query, .note, false, note, most, &columns)
        return columns.sorted { $0.key < $1.key }.prefix(most).map { Place(line: $0.key, column: $0.value) }
    }

    /// What of a query that holds for the subject is where; each term adds its first lines.
    private func collect(
        _ query: SearchQuery, _ subject: Subject, _ cased: Bool, _ note: NoteText, _ most: Int,
        _ columns: inout [Int: Int]
    ) throws {
        switch query {
        case .all(let parts): for part in parts { try collect(part, subject, cased, note, most, &columns) }
        case .any(let parts):
            for part in parts where try matches(part, subject, cased, note) {
                try collect(part, subject, cased, note, most, &columns)
            }
        case .not, .number: return
        case .word(let text), .phrase(let text):
            let view = note.view(matchingCase: cased)
            let wanted = cased ? Array(text.utf8) : Folding.bytes(text)
            collect(subject, note, view, most, &columns) { view.bytes.firstPlace(of: wanted, in: $0) }
        case .regex(let pattern):
            let matcher = try matcher(pattern, cased)
            let view = note.exact
            try collect(subject, note, view, most, &columns) { try matcher.firstEnd(in: view.bytes, $0) }
        case .scoped(let scope, let part):
            let region = lines(subject, note) ?? note.lines
            switch scope {
            case .file, .path: return
            case .content: try collect(part, .lines(region), cased, note, most, &columns)
            case .matchCase: try collect(part, subject, true, note, most, &columns)
            case .ignoreCase: try collect(part, subject, false, note, most, &columns)
            case .tag:
                for (name, line) in note.tags where region.contains(line) {
                    guard try matches(part, .tags([name]), cased, note) else { continue }
                    columns[line] = min(columns[line] ?? .max, 0)
                }
            case .line, .block, .section, .task, .todo, .done:
                var left = most
                for unit in units(scope, region, note) where try left > 0 && matches(part, .lines(unit), cased, note) {
                    left -= 1
                    let known = columns.count
                    try collect(part, .lines(unit), cased, note, most, &columns)
                    if columns.count == known { columns[unit.lowerBound] = columns[unit.lowerBound] ?? 0 }
                }
            }
        case .property(let name, let value):
            for member in note.properties.members where try matches(name, .propertyName(member.name), cased, note) {
                let values = Self.elements(member.value)
                guard try value.map({ try matches($0, .values(values), cased, note) }) ?? true else { continue }
                let shown = try value.flatMap { value in
                    try values.first { try matches(value, .values([$0]), cased, note) }
                }
                let line = note.propertyLine(member.name, containing: shown?.stringValue ?? "")
                columns[line] = columns[line] ?? 0
            }
        }
    }

    private func collect(
        _ subject: Subject, _ note: NoteText, _ view: NoteText.View, _ most: Int, _ columns: inout [Int: Int],
        _ find: (Range<Int>) throws -> Int?
    ) rethrows {
        guard let lines = lines(subject, note) else { return }
        var range = view.range(lines)
        for _ in 0..<most {
            guard let place = try find(range) else { return }
            let line = view.line(of: place)
            let column = String(decoding: view.bytes[view.starts[line]..<place], as: UTF8.self).count
            columns[line] = min(columns[line] ?? .max, column)
            guard line + 1 < lines.upperBound else { return }
            range = view.starts[line + 1]..<range.upperBound
        }
    }
}
