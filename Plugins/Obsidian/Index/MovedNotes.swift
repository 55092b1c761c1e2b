import GRDB

extension NoteIndex {
    /// Has files whose folder moved stand where they are; what they say, and their names, are as before.
    func carry(_ moved: [(from: String, to: String)]) throws {
        try database.write { database in
            for (from, to) in moved {
                try database.cachedStatement(
                    sql: "UPDATE file SET path = ?, folder = ?, folded_path = ? WHERE path = ?"
                ).execute(arguments: [to, VaultPath(trusted: to).folder, Folding.text(to), from])
            }
        }
    }

    /// The notes with a tag, or with one that is nested in it.
    func notes(taggedWith tag: String) throws -> [String] {
        let folded = folded(tag)
        return try read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT DISTINCT note.path FROM tag JOIN note ON note.id = tag.note
                    WHERE folded = ?1 OR substr(folded, 1, length(?1) + 1) = ?1 || '/' ORDER BY note.path
                    """, arguments: [folded])
        }
    }
}
