/// One task of a note, with what the Tasks plugin reads from its line: emoji fields at its end, or fields in brackets
/// as Dataview has them, `[due:: 2026-05-31]`.
struct TaskLine: Sendable, Hashable {
    enum Status: String, Codable, Sendable, CaseIterable {
        case todo, done, inProgress = "in_progress", cancelled, other
    }

    /// From 0.
    var line: Int
    var mark: Character
    /// Without list mark, check box and fields.
    var text: String
    var tags: [String] = []
    /// highest, high, medium, low, lowest.
    var priority: String?
    /// `2026-05-31`, by the names of ``dates``.
    var dates: [String: String] = [:]
    var recurrence: String?
    var id: String?
    var dependsOn: [String] = []

    static let dates = ["due", "scheduled", "start", "done", "created", "cancelled"]

    /// As Tasks has it for a vault without settings of its own.
    var status: Status {
        switch mark {
        case " ": .todo
        case "x", "X": .done
        case "/": .inProgress
        case "-": .cancelled
        default: .other
        }
    }

    private static let dateSigns: [(signs: Set<Character>, name: String)] = [
        (["📅", "📆", "🗓"], "due"), (["⏳", "⌛"], "scheduled"), (["🛫"], "start"), (["✅"], "done"), (["➕"], "created"),
        (["❌"], "cancelled"),
    ]
    private static let priorities: [Character: String] = ["🔺": "highest", "⏫": "high", "🔼": "medium", "🔽": "low", "⏬": "lowest"]
    private static let fieldNames: [String: String] = [
        "due": "due", "scheduled": "scheduled", "start": "start", "completion": "done", "created": "created",
        "cancelled": "cancelled",
    ]

    /// - Parameter line: The line's text; nil is returned where it is no list item with a check box.
    init?(_ text: String, line: Int, mark: Character) {
        guard let open = text.firstIndex(of: "["), let close = text[open...].firstIndex(of: "]") else { return nil }
        self.line = line
        self.mark = mark
        self.text = ""
        var rest = String(text[text.index(after: close)...]).trimmed[...]
        // From the end, for as long as there are fields: an emoji in the middle of the text is text.
        var hashtags: [Substring] = []
        while let start = takeField(rest) ?? takeTag(rest, &hashtags) { rest = rest[..<start].trimmed }
        self.text = ([rest] + hashtags.reversed()).filter { !$0.isEmpty }.joined(separator: " ")
        tags = NoteParser.parse(self.text).tags.map(\.name)
    }

    /// A tag may stand among the fields and belongs to the text.
    private func takeTag(_ text: Substring, _ tags: inout [Substring]) -> Substring.Index? {
        guard let word = text.split(separator: " ").last, word.hasPrefix("#"), word.startIndex > text.startIndex else { return nil }
        tags.append(word)
        return word.startIndex
    }

    /// Reads the field at the end of a text; where it begins, or nil where there is none.
    private mutating func takeField(_ text: Substring) -> Substring.Index? {
        takeBracket(text) ?? takePriority(text) ?? takeSigned(text)
    }

    private mutating func takePriority(_ text: Substring) -> Substring.Index? {
        guard let place = text.indices.last, let found = Self.priorities[Self.plain(text[place])] else { return nil }
        priority = priority ?? found
        return place
    }

    /// A sign and what follows it up to the end.
    private mutating func takeSigned(_ text: Substring) -> Substring.Index? {
        guard let place = text.lastIndex(where: { Self.isSign(Self.plain($0)) }) else { return nil }
        let value = text[text.index(after: place)...].trimmed
        let sign = Self.plain(text[place])
        if let name = Self.dateSigns.first(where: { $0.signs.contains(sign) })?.name {
            guard Self.isDate(value) else { return nil }
            dates[name] = dates[name] ?? String(value)
        } else if sign == "🏁" {
            guard !value.isEmpty, value.allSatisfy(\.isLetter) else { return nil }
        } else if sign == "🔁" {
            guard !value.isEmpty else { return nil }
            recurrence = recurrence ?? String(value)
        } else {
            guard Self.areIDs(value) else { return nil }
            if sign == "🆔" { id = id ?? String(value) } else { dependsOn = value.split(separator: ",").map { String($0.trimmed) } }
        }
        return place
    }

    /// `[due:: 2026-05-31]`, or the same in parentheses.
    private mutating func takeBracket(_ text: Substring) -> Substring.Index? {
        guard let last = text.last, last == "]" || last == ")",
            let open = text.lastIndex(of: last == "]" ? "[" : "("), let colons = text[open...].firstRange(of: "::")
        else { return nil }
        let key = text[text.index(after: open)..<colons.lowerBound].trimmed
        let value = text[colons.upperBound...].dropLast().trimmed
        if let name = Self.fieldNames[folded(String(key))] {
            guard Self.isDate(value) else { return nil }
            dates[name] = dates[name] ?? String(value)
        } else if key == "priority" {
            priority = priority ?? String(value)
        } else if key == "repeat" {
            recurrence = recurrence ?? String(value)
        } else if key == "id" {
            id = id ?? String(value)
        } else if key == "dependsOn" {
            dependsOn = value.split(separator: ",").map { String($0.trimmed) }
        } else {
            return nil
        }
        return open
    }

    private static func isSign(_ character: Character) -> Bool {
        ["🔁", "🆔", "⛔", "🏁"].contains(character) || dateSigns.contains { $0.signs.contains(character) }
    }

    /// Without the mark that asks for the coloured form.
    private static func plain(_ character: Character) -> Character {
        character.unicodeScalars.first.map(Character.init) ?? character
    }

    private static func isDate(_ text: Substring) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.utf8.count) == [4, 2, 2], text.utf8.allSatisfy({ $0 == 0x2D || (0x30...0x39).contains($0) }),
            let month = Int(parts[1]), let day = Int(parts[2])
        else { return false }
        return (1...12).contains(month) && (1...31).contains(day)
    }

    private static func areIDs(_ text: Substring) -> Bool {
        !text.isEmpty && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_, ".contains($0)) }
    }
}
