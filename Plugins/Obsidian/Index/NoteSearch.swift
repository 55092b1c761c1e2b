import GRDB

/// Search over the index: what it can tell is asked in SQL, the rest is decided on the texts of the notes in question.
extension NoteIndex {
    struct Hit: Sendable {
        var summary: NoteSummary
        var properties: String
        var body: String
    }

    /// The best hits and how many there are in all: first those in which words of the query begin, ranked, then the
    /// others, newest first. `check` is called again and again while texts are read, and throws to
    /// end a search that takes too long. `lacking` hears how many of a hundred notes have their grams in the index,
    /// where the search would be faster if all had.
    func search(
        _ query: SearchQuery, folder: String?, among shown: SQLCondition? = nil, limit: Int, offset: Int,
        check: @escaping () throws -> Void = {}, lacking: (Int) -> Void = { _ in }
    ) throws -> (hits: [Hit], total: Int) {
        try read { database in
            let grams = try GramState(database)
            let plan = try withVocabulary(database) { try QueryPlan(query, $0, grams) }
            if plan.lacksGrams { lacking(try Self.gramPercent(database)) }
            var inFolder = NoteFilter.all
            if let folder, !folder.isEmpty { inFolder = .condition(.folder(folder)) }
            if let shown { inFolder = .all([inFolder, .condition(shown)]) }
            let certain = NoteFilter.all([plan.certain, inFolder])
            let last = offset > Int.max - limit ? Int.max : offset + limit
            var order: [Int64]
            let total: Int
            if plan.isOfBeginnings, case .match(let text) = certain {
                let matched = try Self.count(text, database)
                // Where every note is found for certain there is none left to read.
                let isAll = try plan.isExact || matched == Int.fetchOne(database, sql: "SELECT count(*) FROM note")
                let others = isAll ? [] : try Self.decided(query, plan.open(in: inFolder), database, check)
                order = try Self.ranked(text, .all, most: last, database)
                if order.count < last { order += try Self.newest(.ids(others), most: last, database) }
                total = matched + others.count
            } else {
                var filter = certain
                if !plan.isExact {
                    filter = .any([certain, .ids(try Self.decided(query, plan.open(in: inFolder), database, check))])
                }
                total = try Self.count(filter, database)
                order = plan.ranking.isEmpty ? [] : try Self.ranked(plan.ranking, filter, most: last, database)
                if order.count < min(last, total) {
                    let best = Set(order)
                    order += try Self.newest(filter, most: last, database).filter { !best.contains($0) }
                }
            }
            return (try order.dropFirst(offset).prefix(limit).compactMap { try Self.hit($0, database) }, total)
        }
    }

    /// Those of the notes that the query finds, by their texts.
    private static func decided(
        _ query: SearchQuery, _ filter: NoteFilter, _ database: Database, _ check: @escaping () throws -> Void
    ) throws -> [Int64] {
        let condition = filter.condition
        // A CROSS JOIN keeps its order: no text is read before its note is known to be in question.
        let body =
            query.readsText ? "content.body FROM note CROSS JOIN content ON content.rowid = note.id" : "'' FROM note"
        let rows = try Row.fetchCursor(
            database, sql: "SELECT note.id, note.path, note.properties, \(body) WHERE \(condition.sql)",
            arguments: condition.arguments)
        let evaluator = QueryEvaluator(query, check: check)
        var found: [Int64] = []
        while let row = try rows.next() {
            if try evaluator.matches(NoteText(path: row[1], properties: row[2], text: row[3])) { found.append(row[0]) }
        }
        return found
    }

    private static func count(_ match: String, _ database: Database) throws -> Int {
        try Int.fetchOne(database, sql: "SELECT count(*) FROM content WHERE content MATCH ?", arguments: [match]) ?? 0
    }

    private static func count(_ filter: NoteFilter, _ database: Database) throws -> Int {
        let condition = filter.condition
        return try Int.fetchOne(
            database, sql: "SELECT count(*) FROM note WHERE \(condition.sql)", arguments: condition.arguments) ?? 0
    }

    /// The best by BM25, with the title weighing most. The CROSS JOIN and the `+` keep SQLite from asking FTS5 for one
    /// note at a time.
    private static func ranked(_ match: String, _ among: NoteFilter, most: Int, _ database: Database) throws -> [Int64] {
        let condition = among.condition
        return try Int64.fetchAll(
            database,
            sql: """
                SELECT note.id FROM content CROSS JOIN note ON note.id = +content.rowid
                WHERE content MATCH ? AND \(condition.sql)
                ORDER BY bm25(content, 10.0, 8.0, 4.0, 4.0, 1.0), note.path LIMIT ?
                """, arguments: [match] + condition.arguments + [most])
    }

    private static func newest(_ filter: NoteFilter, most: Int, _ database: Database) throws -> [Int64] {
        let condition = filter.condition
        return try Int64.fetchAll(
            database,
            sql: "SELECT note.id FROM note WHERE \(condition.sql) ORDER BY note.modified DESC, note.path LIMIT ?",
            arguments: condition.arguments + [most])
    }

    private static func hit(_ id: Int64, _ database: Database) throws -> Hit? {
        let statement = try database.cachedStatement(
            sql: "SELECT note.*, content.body FROM note JOIN content ON content.rowid = note.id WHERE note.id = ?")
        return try Row.fetchOne(statement, arguments: [id]).map { row in
            Hit(summary: NoteSummary(row), properties: row["properties"], body: row["body"])
        }
    }
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

    mutating func addFolder(_ folder: String) { add(.folder(folder)) }

    static func joined(_ conditions: [SQLCondition], _ word: String) -> SQLCondition {
        SQLCondition(
            conditions.map { "(\($0.sql))" }.joined(separator: " \(word) "),
            conditions.reduce(into: StatementArguments()) { $0 += $1.arguments })
    }

    /// The folder itself and everything below it.
    static func folder(_ folder: String) -> SQLCondition {
        let name = folded(folder.hasSuffix("/") ? String(folder.dropLast()) : folder)
        return SQLCondition(
            "lower(note.folder) = ? OR substr(lower(note.folder), 1, ?) = ?", [name, name.count + 1, name + "/"])
    }

    /// A name in ASCII, in any case.
    static func hasProperty(_ name: String) -> SQLCondition {
        SQLCondition("EXISTS (SELECT 1 FROM json_each(note.properties) WHERE lower(key) = ?)", [folded(name)])
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
