import GRDB

/// Notes in which a name may stand.
extension NoteIndex {
    /// By path; each has the words of one of the names beside each other, though perhaps in a link.
    func notesNaming(_ names: [String], most: Int = .max) throws -> [String] {
        try read { database in
            let filters = try names.map { name -> NoteFilter in
                let tokens = try Folding.tokens(name)
                let isSpaced = !tokens.isEmpty && !name.unicodeScalars.contains(where: WordRule.isUnspaced)
                if isSpaced { return .match("body : \"\(tokens.joined(separator: " "))\"") }
                // Within a run of signs without blanks the index finds only beginnings; the vocabulary knows where else.
                let grams = try GramState(database)
                return try withVocabulary(database) { try QueryPlan(.scoped(.content, .phrase(name)), $0, grams).possible }
            }
            let condition = NoteFilter.any(filters).condition
            return try String.fetchAll(
                database, sql: "SELECT note.path FROM note WHERE \(condition.sql) ORDER BY note.path LIMIT ?",
                arguments: condition.arguments + [most])
        }
    }
}
