import GRDB

/// Full-text search over the index.
extension NoteIndex {
    struct Hit: Sendable {
        var summary: NoteSummary
        var body: String
    }

    /// The best hits and how many there are in all.
    func search(_ query: SearchQuery, folder: String?, limit: Int, offset: Int) throws -> (hits: [Hit], total: Int) {
        var condition = SQLCondition()
        condition.addAny(query.alternatives.map(Self.sql))
        if let folder, !folder.isEmpty { condition.addFolder(folder) }
        return try database.read { database in
            let total = try Int.fetchOne(
                database, sql: "SELECT count(*) FROM note WHERE \(condition.sql)", arguments: condition.arguments) ?? 0
            let match = Self.match(query)
            // Ranked by BM25 with the title weighing most; what matches by filters alone is newest first.
            let sql =
                match.isEmpty
                ? "SELECT note.*, content.body FROM note JOIN content ON content.rowid = note.id WHERE \(condition.sql) ORDER BY note.modified DESC, note.path LIMIT ? OFFSET ?"
                : """
                SELECT note.*, content.body FROM content JOIN note ON content.rowid = note.id
                WHERE content MATCH ? AND \(condition.sql)
                ORDER BY bm25(content, 10.0, 8.0, 4.0, 4.0, 1.0), note.path LIMIT ? OFFSET ?
                """
            let arguments =
                (match.isEmpty ? StatementArguments() : [match]) + condition.arguments + [limit, offset]
            let rows = try Row.fetchAll(database, sql: sql, arguments: arguments)
            return (rows.map { Hit(summary: NoteSummary($0), body: $0["body"]) }, total)
        }
    }

    /// All words that count, for ranking; the conditions decide what matches.
    private static func match(_ query: SearchQuery) -> String {
        query.positiveTexts.map(quoted).filter { !$0.isEmpty }.joined(separator: " OR ")
    }

    /// A word or phrase as FTS5 takes it: quoted, so that nothing in it is syntax; the last word may be a beginning.
    static func quoted(_ text: String) -> String {
        let hasToken = text.unicodeScalars.contains { $0.properties.isAlphabetic || $0.properties.numericType != nil }
        guard hasToken else { return "" }
        let clean = String(String.UnicodeScalarView(text.unicodeScalars.filter { $0.value != 0 }))
        return "\"" + clean.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\"*"
    }

    private static func sql(_ conditions: [SearchQuery.Condition]) -> SQLCondition {
        var all = SQLCondition()
        for condition in conditions { all.add(sql(condition.term), negated: condition.isNegated) }
        return all
    }

    private static func sql(_ term: SearchQuery.Term) -> SQLCondition {
        switch term {
        case .word(let text), .phrase(let text):
            let match = quoted(text)
            if match.isEmpty {  // punctuation only: no token to look up, so look for the text itself
                return SQLCondition("note.id IN (SELECT rowid FROM content WHERE instr(body, ?))", [text])
            }
            return SQLCondition("note.id IN (SELECT rowid FROM content WHERE content MATCH ?)", [match])
        case .tag(let tag): return .tag(tag)
        case .path(let text): return SQLCondition("instr(lower(note.path), ?)", [folded(text)])
        case .file(let text): return SQLCondition("instr(lower(note.title), ?)", [folded(text)])
        case .property(let name, nil): return SQLCondition(Self.property + ")", [folded(name)])
        case .property(let name, let value?):
            return SQLCondition(
                Self.property + " AND (instr(lower(value), ?) OR instr(lower(atom), ?)))",
                [folded(name), folded(value), folded(value)])
        }
    }

    private static let property = "EXISTS (SELECT 1 FROM json_each(note.properties) WHERE lower(key) = ?"
}

/// A condition on notes with its arguments; nothing from outside ever becomes part of the text.
struct SQLCondition {
    private(set) var sql: String
    private(set) var arguments: StatementArguments

    init(_ sql: String = "1", _ arguments: StatementArguments = []) {
        self.sql = sql
        self.arguments = arguments
    }

    mutating func add(_ other: SQLCondition, negated: Bool = false) {
        sql += " AND \(negated ? "NOT " : "")(\(other.sql))"
        arguments += other.arguments
    }

    mutating func addAny(_ others: [SQLCondition]) {
        guard !others.isEmpty else { return }
        add(SQLCondition(
            others.map { "(\($0.sql))" }.joined(separator: " OR "),
            others.reduce(into: StatementArguments()) { $0 += $1.arguments }))
    }

    /// The folder itself and everything below it.
    mutating func addFolder(_ folder: String) {
        let name = folded(folder.hasSuffix("/") ? String(folder.dropLast()) : folder)
        add(SQLCondition("lower(note.folder) = ? OR substr(lower(note.folder), 1, ?) = ?", [name, name.count + 1, name + "/"]))
    }

    /// The tag or one nested in it.
    static func tag(_ tag: String) -> SQLCondition {
        let name = folded(tag.hasPrefix("#") ? String(tag.dropFirst()) : tag)
        return SQLCondition(
            "EXISTS (SELECT 1 FROM tag WHERE tag.note = note.id AND (folded = ? OR substr(folded, 1, ?) = ?))",
            [name, name.count + 1, name + "/"])
    }
}

extension NoteSummary {
    init(_ row: Row) {
        self.init(
            path: row["path"], title: row["title"], modified: Double(row["modified"] as Int64) / 1e9, size: row["size"])
    }
}
