import GRDB

/// What search by meaning asks of the index of words.
extension NoteIndex {
    /// The version of every note's content.
    func versions() throws -> [String: String] {
        try database.read { database in
            var versions: [String: String] = [:]
            let rows = try Row.fetchCursor(database, sql: "SELECT path, version FROM note")
            while let row = try rows.next() { versions[row[0]] = row[1] }
            return versions
        }
    }

    func content(of path: String) throws -> (version: String, text: String)? {
        try database.read { database in
            let statement = try database.cachedStatement(
                sql: "SELECT note.version, content.body FROM note JOIN content ON content.rowid = note.id WHERE note.path = ?")
            return try Row.fetchOne(statement, arguments: [path]).map { ($0[0], $0[1]) }
        }
    }

    /// The notes in which any of the words stands, by BM25, best first: how people ask in sentences, of which hardly a
    /// note has every word.
    func ranked(anyOf words: [String], folder: String?, most: Int) throws -> [String] {
        let tokens = try words.flatMap { try Folding.tokens($0) }
        return try database.read { database in
            // FTS5 gives no weight to a word that half of the notes have; finding it costs most.
            let half = try (Int.fetchOne(database, sql: "SELECT count(*) FROM note") ?? 0) / 2
            var terms: [String] = []
            var common: [String] = []
            for token in tokens {
                let term = Self.term(token)
                guard !terms.contains(term), !common.contains(term) else { continue }
                if try Self.count(term, upTo: half + 1, database) > half { common.append(term) } else { terms.append(term) }
            }
            let match = (terms.isEmpty ? common : terms).joined(separator: " OR ")
            guard !match.isEmpty else { return [] }
            var condition = SQLCondition("content MATCH ?", [match])
            if let folder, !folder.isEmpty { condition.addFolder(folder) }
            return try String.fetchAll(
                database,
                sql: """
                    SELECT note.path FROM content JOIN note ON note.id = content.rowid WHERE \(condition.sql)
                    ORDER BY bm25(content, 10.0, 8.0, 4.0, 4.0, 1.0), note.path LIMIT ?
                    """, arguments: condition.arguments + [most])
        }
    }

    /// Long words count with their endings; the beginning of a short one is that of many that have nothing to do with it.
    private static func term(_ token: String) -> String { token.count < 4 ? "\"\(token)\"" : "\"\(token)\"*" }

    private static func count(_ match: String, upTo most: Int, _ database: Database) throws -> Int {
        try Int.fetchOne(
            database, sql: "SELECT count(*) FROM (SELECT 1 FROM content WHERE content MATCH ? LIMIT ?)", arguments: [match, most]) ?? 0
    }
}
