import GRDB

/// The table of ``Grams``, filled in the background.
///
/// Notes enter it in the order of their numbers, and a note that changes gets a new number: what is behind the last one
/// is not in it yet and is read by whoever needs it. What it has of numbers that are gone finds nothing and is thrown
/// away with all of it when it is more than what is left.
extension NoteIndex {
    static let gramSchema = """
        CREATE VIRTUAL TABLE gram USING fts5(
            text, content = '', columnsize = 0, detail = none, tokenize = '\(GramTokenizer.name)');
        INSERT INTO gram(gram, rank) VALUES ('hashsize', 8000000), ('automerge', 8);
        CREATE TABLE gram_state (last INTEGER NOT NULL, added INTEGER NOT NULL, is_scattered INTEGER NOT NULL);
        INSERT INTO gram_state VALUES (0, 0, 0);
        """

    /// How far the table is.
    struct GramState: Sendable {
        /// The highest number that is in it.
        var last: Int64
        /// How many notes are, with those that are gone.
        var added: Int
        var isComplete: Bool

        init(_ database: Database) throws {
            let row = try Row.fetchOne(database, sql: "SELECT last, added FROM gram_state")
            last = row?[0] ?? 0
            added = row?[1] ?? 0
            isComplete = try last >= Int64.fetchOne(database, sql: "SELECT max(id) FROM file") ?? 0
        }
    }

    /// How many of a hundred notes are in the table, at most 99 while it lacks some.
    func gramPercent() throws -> Int { try read(Self.gramPercent) }

    static func gramPercent(_ database: Database) throws -> Int {
        let state = try GramState(database)
        guard !state.isComplete else { return 100 }
        let all = try Int.fetchOne(database, sql: "SELECT count(*) FROM note") ?? 0
        let done = try count(upTo: state.last, database)
        return all == 0 ? 99 : min(99, done * 100 / all)
    }

    private static func count(upTo last: Int64, _ database: Database) throws -> Int {
        try Int.fetchOne(database, sql: "SELECT count(*) FROM note WHERE id <= ?", arguments: [last]) ?? 0
    }

    /// What one step takes: as much as others may have to wait for.
    static let mostNotes = 256, mostBytes: Int64 = 1 << 20

    /// Puts the next notes into the table; false when there are none left.
    func addGrams(most: Int = mostNotes) throws -> Bool {
        try database.write { database in
            let state = try GramState(database)
            guard !state.isComplete else { return false }
            var bytes: Int64 = 0
            var last = state.last
            let next = try Row.fetchCursor(
                database, sql: "SELECT id, size FROM file WHERE id > ? ORDER BY id LIMIT ?",
                arguments: [state.last, most])
            while bytes < Self.mostBytes, let row = try next.next() {
                last = row[0]
                bytes += row[1]
            }
            // No gram reaches over a control character.
            try database.execute(
                sql: """
                    INSERT INTO gram (rowid, text)
                    SELECT rowid, title || char(31) || body FROM content WHERE rowid > ? AND rowid <= ?
                    """, arguments: [state.last, last])
            try database.execute(
                sql: "UPDATE gram_state SET last = ?, added = added + ?", arguments: [last, database.changesCount])
            let reached = try GramState(database)
            guard reached.isComplete else { return true }
            let kept = try Self.count(upTo: last, database)
            guard reached.added - kept > max(kept, 1000) else { return false }
            try database.execute(
                sql: "INSERT INTO gram(gram) VALUES ('delete-all'); UPDATE gram_state SET last = 0, added = 0")
            return true
        }
    }
}
