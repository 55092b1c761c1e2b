import GRDB

/// What search by meaning asks of the index of words.
extension NoteIndex {
    func content(of path: String) throws -> (version: String, text: String)? {
        try read { database in
            let statement = try database.cachedStatement(
                sql:
                    "SELECT note.version, content.body FROM note JOIN content ON content.rowid = note.id WHERE note.path = ?"
            )
            return try Row.fetchOne(statement, arguments: [path]).map { ($0[0], $0[1]) }
        }
    }

    /// The notes in which any of the words stands, by BM25, best first: how people ask in sentences, of which hardly a
    /// note has every word.
    func ranked(anyOf words: [String], folder: String?, most: Int) throws -> [String] {
        let tokens = try words.flatMap { try Folding.tokens($0) }
        return try read { database in
            // FTS5 gives no weight to a word that half of the notes have. There are no more notes than the last one's
            // number, which costs nothing to know.
            let half = try (Int.fetchOne(database, sql: "SELECT max(id) FROM file") ?? 0) / 2
            let common = min(half, Self.mostRanked / 2) + 1
            var counts: [String: Int] = [:]
            for term in tokens.map(Self.term) where counts[term] == nil {
                counts[term] = try Self.count(term, upTo: common, database)
            }
            let match = Self.telling(counts, common: common).joined(separator: " OR ")
            guard !match.isEmpty else { return [] }
            var inFolder = SQLCondition()
            // The `+` keeps SQLite from asking FTS5 for one note at a time.
            if let folder, !folder.isEmpty {
                let condition = SQLCondition.folder(folder)
                inFolder = SQLCondition(
                    "+content.rowid IN (SELECT id FROM note WHERE \(condition.sql))", condition.arguments)
            }
            // Only the best are looked up in the table of notes.
            return try String.fetchAll(
                database,
                sql: """
                    SELECT note.path FROM (
                        SELECT content.rowid AS id, bm25(content, 10.0, 8.0, 4.0, 4.0, 1.0) AS score FROM content
                        WHERE content MATCH ? AND \(inFolder.sql) ORDER BY score LIMIT ?
                    ) AS best JOIN note ON note.id = best.id ORDER BY best.score, note.path
                    """, arguments: [match] + inFolder.arguments + [most])
        }
    }

    /// So many notes are ranked, which costs some milliseconds; more only for a word that is alone.
    private static let mostRanked = 5000

    /// The words that few notes have, which tell most, as long as they have not too many together. What is common counts
    /// only where there is nothing else.
    private static func telling(_ counts: [String: Int], common: Int) -> [String] {
        let rarest = counts.sorted { ($0.value, $0.key) < ($1.value, $1.key) }
        var left = mostRanked
        return rarest.filter { term, count in
            guard term == rarest[0].key || count < common else { return false }
            left -= count
            return left >= 0
        }.map(\.key)
    }

    /// Long words count with their endings; the beginning of a short one is that of many that have nothing to do with it.
    private static func term(_ token: String) -> String { token.count < 4 ? "\"\(token)\"" : "\"\(token)\"*" }

    private static func count(_ match: String, upTo most: Int, _ database: Database) throws -> Int {
        try Int.fetchOne(
            database, sql: "SELECT count(*) FROM (SELECT 1 FROM content WHERE content MATCH ? LIMIT ?)",
            arguments: [match, most]) ?? 0
    }
}
