import GRDB
import KnapJSON

/// What the graph is made of, row by row.
extension NoteIndex {
    /// Every file of the index with its number there and its aliases.
    func forEachFile(_ body: (_ id: Int64, _ path: String, _ aliases: [String]) throws -> Void) throws {
        try read { database in try Self.forEachFile("1", [], database, body) }
    }

    /// Every link as it is written, with the number of the file that it is in; those of one file mostly follow each other.
    func forEachLink(_ body: (_ id: Int64, _ target: String) throws -> Void) throws {
        try read { database in
            let rows = try Row.fetchCursor(database, sql: "SELECT note, target FROM link")
            while let row = try rows.next() { try body(row[0], row[1]) }
        }
    }

    /// The same of some files: first each with its aliases, then its links.
    func forEach(
        of paths: [String], file: (_ id: Int64, _ path: String, _ aliases: [String]) throws -> Void,
        link: (_ id: Int64, _ target: String) throws -> Void
    ) throws {
        let list = JSON.array(paths.map { .string($0) }).serialized()
        try read { database in
            try Self.forEachFile("path IN (SELECT value FROM json_each(?))", [list], database, file)
            let rows = try Row.fetchCursor(
                database,
                sql: """
                    SELECT link.note, link.target FROM json_each(?) wanted
                    CROSS JOIN file ON file.path = wanted.value CROSS JOIN link ON link.note = file.id
                    """, arguments: [list])
            while let row = try rows.next() { try link(row[0], row[1]) }
        }
    }

    private static func forEachFile(
        _ condition: String, _ arguments: StatementArguments, _ database: Database,
        _ body: (_ id: Int64, _ path: String, _ aliases: [String]) throws -> Void
    ) throws {
        let rows = try Row.fetchCursor(
            database,
            sql: """
                SELECT id, path, CASE WHEN instr(properties, '"aliases"') THEN properties END FROM file WHERE \(condition)
                """, arguments: arguments)
        while let row = try rows.next() {
            let properties = (row[2] as String?).flatMap { try? JSON.parse($0) }?.objectValue
            try body(row[0], row[1], properties.map(FrontMatter.aliases) ?? [])
        }
    }

    func counts() throws -> (links: Int, tags: Int) {
        try read { database in
            (
                try Int.fetchOne(database, sql: "SELECT count(*) FROM link") ?? 0,
                try Int.fetchOne(database, sql: "SELECT count(DISTINCT folded) FROM tag") ?? 0
            )
        }
    }
}

extension FrontMatter {
    /// `aliases`: a list, or one text.
    static func aliases(_ properties: JSONObject) -> [String] {
        switch properties["aliases"] {
        case .string(let text)?: [text]
        case .array(let elements)?: elements.compactMap(\.stringValue)
        default: []
        }
    }
}
