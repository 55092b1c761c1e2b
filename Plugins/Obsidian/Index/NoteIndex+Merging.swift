import GRDB

/// The parts of the full-text tables, put together in the background.
///
/// Every commit leaves a part, and FTS5 merges sixteen of them within the commit that makes the sixteenth: half a second
/// for somebody who saves one note, where some of the sixteen are thousands of notes each.
extension NoteIndex {
    /// So many notes in one commit make a part that is not small.
    static let many = 256

    static func scatter(_ database: Database) throws {
        try database.execute(sql: "UPDATE gram_state SET is_scattered = 1 WHERE NOT is_scattered")
    }

    /// Merges some pages; false when each table is one part, or has only small ones beside it.
    func merge() throws -> Bool {
        try database.write { database in
            guard try Bool.fetchOne(database, sql: "SELECT is_scattered FROM gram_state") == true else { return false }
            for table in ["content", "gram"] {
                let before = database.totalChangesCount
                try database.execute(sql: "INSERT INTO \(table)(\(table), rank) VALUES ('merge', -200)")
                // FTS5's documentation, section 6.7: fewer changes than two mean that there was nothing to do.
                if database.totalChangesCount - before >= 2 { return true }
            }
            try database.execute(sql: "UPDATE gram_state SET is_scattered = 0")
            return false
        }
    }
}
