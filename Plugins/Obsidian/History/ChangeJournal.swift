import struct Foundation.Data
import GRDB
import Glibc
import Synchronization

/// What Knap did to a vault, with all that is needed to undo it: outside of the vault, and on disk before the vault
/// changes, so that what a crash cut off is found and taken back.
final class ChangeJournal: Sendable {
    /// A change of the past.
    struct Entry: Sendable {
        struct File: Sendable {
            var change: FileChange
            /// Where the vault's trash has it, for a file that was deleted.
            var trashed: String?
        }

        /// From 1, in the order in which they were made.
        var id: Int64
        /// Seconds since 1970.
        var time: Double
        var operation: String
        /// The change that this one undid.
        var undoes: Int64?
        /// The change that undid this one.
        var undoneBy: Int64?
        var files: [File]
    }

    private static let schemaVersion = 1
    /// What is kept; the oldest go first.
    static let maximumChanges = 10_000
    static let maximumBytes = 1 << 30

    /// How a change that was prepared came out.
    enum Settlement: Sendable {
        /// - Parameter trashed: Where deleted files went, by their place in the change.
        case finish(Int64, trashed: [Int: String])
        case forget(Int64)
    }

    private struct Standing {
        var problem: String?
        /// What could not be written yet.
        var owed: [Settlement] = []
    }

    private let database: DatabasePool
    /// Changes of other files are not shown.
    private let access: PathAccess
    private let standing = Mutex(Standing())

    /// A journal that is broken is put aside, never deleted: it may hold what a person wants back.
    init(path: String, showing access: PathAccess = .all) throws {
        self.access = access
        do {
            database = try Self.open(path)
        } catch let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode) {
            for suffix in ["", "-wal", "-shm"] { rename(path + suffix, "\(path).broken-\(time(nil))\(suffix)") }
            database = try Self.open(path)
        }
    }

    /// The same journal for a view of the vault.
    init(of other: ChangeJournal, showing access: PathAccess) {
        database = other.database
        self.access = access
    }

    private func shows(_ entry: Entry) -> Bool {
        entry.files.allSatisfy { file in
            access.sees(file.change.path.text) && (file.change.from.map { access.sees($0.text) } ?? true)
        }
    }

    private static func open(_ path: String) throws -> DatabasePool {
        var configuration = GRDB.Configuration()
        configuration.maximumReaderCount = 2
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA foreign_keys = ON; PRAGMA cache_size = -1000")
        }
        let database = try DatabasePool(path: path, configuration: configuration)
        // Opening a pool sets it to NORMAL, with which a commit may be lost to a power cut.
        try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        try database.write { database in
            guard try Int.fetchOne(database, sql: "PRAGMA user_version") == 0 else { return }
            try database.execute(sql: schema)
            try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
        }
        return database
    }

    /// SQLite's setting of that name: 2 is FULL.
    var synchronous: Int {
        get throws { try database.writeWithoutTransaction { try Int.fetchOne($0, sql: "PRAGMA synchronous") ?? 0 } }
    }

    private static let schema = """
        CREATE TABLE change (
            id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, operation TEXT NOT NULL,
            undoes INTEGER, done INTEGER NOT NULL);
        CREATE INDEX change_undoes ON change (undoes);
        CREATE TABLE content (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, bytes BLOB NOT NULL);
        CREATE TABLE file (
            change INTEGER NOT NULL REFERENCES change ON DELETE CASCADE, place INTEGER NOT NULL,
            path TEXT NOT NULL, source TEXT, kind TEXT NOT NULL,
            before INTEGER REFERENCES content, after INTEGER REFERENCES content, trashed TEXT,
            PRIMARY KEY (change, place)) WITHOUT ROWID;
        CREATE INDEX file_path ON file (path);
        CREATE INDEX file_before ON file (before);
        CREATE INDEX file_after ON file (after);
        """

    // MARK: - Writing

    /// Notes what is about to be done, and answers its number. It is on disk when this returns.
    func prepare(
        _ operation: String, _ changes: [FileChange], undoing undone: Int64? = nil, now: Double
    ) throws -> Int64 {
        do {
            return try insert(operation, changes, undone, now)
        } catch {
            note(error)
            throw error
        }
    }

    private func insert(
        _ operation: String, _ changes: [FileChange], _ undone: Int64?, _ now: Double
    ) throws -> Int64 {
        try database.write { database in
            try database.execute(
                sql: "INSERT INTO change (time, operation, undoes, done) VALUES (?, ?, ?, 0)",
                arguments: [now, operation, undone])
            let id = database.lastInsertedRowID
            for (place, change) in changes.enumerated() {
                let contents = change.contents
                try database.execute(
                    sql: """
                        INSERT INTO file (change, place, path, source, kind, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        id, place, change.path.text, change.from?.text, change.kind,
                        try contents.before.map { try Self.keep($0, database) },
                        try contents.after.map { try Self.keep($0, database) },
                    ])
            }
            return id
        }
    }

    /// The number of a content, which is kept once however often it was written.
    private static func keep(_ bytes: [UInt8], _ database: Database) throws -> Int64 {
        let hash = ContentVersion.of(bytes)
        if let known = try Int64.fetchOne(database, sql: "SELECT id FROM content WHERE hash = ?", arguments: [hash]) {
            return known
        }
        try database.execute(
            sql: "INSERT INTO content (hash, bytes) VALUES (?, ?)", arguments: [hash, Data(bytes)])
        return database.lastInsertedRowID
    }

    /// Notes how a change came out, and what could not be noted before. Where that fails it is tried again with the next
    /// one, and the vault's files tell at the next start.
    func settle(_ settlement: Settlement) {
        let owed = standing.withLock { standing in
            defer { standing.owed = [] }
            return standing.owed + [settlement]
        }
        for (place, each) in owed.enumerated() {
            do {
                try write(each)
            } catch {
                standing.withLock { $0.owed = Array(owed[place...]) }
                return note(error)
            }
        }
        standing.withLock { $0.problem = nil }
    }

    /// Why it has not taken what came last; nil where it has.
    var problem: String? { standing.withLock { $0.problem } }

    func note(_ error: any Error) { standing.withLock { $0.problem = "\(error)" } }

    private func write(_ settlement: Settlement) throws {
        try database.write { database in
            switch settlement {
            case .finish(let id, let trashed):
                for (place, name) in trashed {
                    try database.execute(
                        sql: "UPDATE file SET trashed = ? WHERE change = ? AND place = ?", arguments: [name, id, place])
                }
                try database.execute(sql: "UPDATE change SET done = 1 WHERE id = ?", arguments: [id])
                if id % 100 == 0 { try Self.prune(database) }
            case .forget(let id):
                let contents = try Row.fetchAll(
                    database, sql: "SELECT before, after FROM file WHERE change = ?", arguments: [id])
                try database.execute(sql: "DELETE FROM change WHERE id = ?", arguments: [id])
                for content in contents.flatMap({ [$0["before"] as Int64?, $0["after"] as Int64?].compactMap(\.self) }) {
                    try Self.dropContents(database, "id = ? AND ", [content])
                }
            }
        }
    }

    private static func prune(_ database: Database) throws {
        try database.execute(
            sql: "DELETE FROM change WHERE done AND id <= (SELECT max(id) FROM change) - ?", arguments: [maximumChanges])
        try dropContents(database)
        var bytes = try Int.fetchOne(database, sql: "SELECT total(length(bytes)) FROM content") ?? 0
        while bytes > maximumBytes {
            // At least the last ones stay, however large.
            let oldest = try Int64.fetchAll(database, sql: "SELECT id FROM change WHERE done ORDER BY id LIMIT 100")
            guard oldest.count == 100, let last = oldest.last else { return }
            try database.execute(sql: "DELETE FROM change WHERE done AND id <= ?", arguments: [last])
            try dropContents(database)
            bytes = try Int.fetchOne(database, sql: "SELECT total(length(bytes)) FROM content") ?? 0
        }
    }

    private static func dropContents(
        _ database: Database, _ condition: String = "", _ arguments: StatementArguments = []
    ) throws {
        try database.execute(
            sql: """
                DELETE FROM content WHERE \(condition)NOT EXISTS (SELECT 1 FROM file WHERE before = content.id)
                AND NOT EXISTS (SELECT 1 FROM file WHERE after = content.id)
                """, arguments: arguments)
    }

    // MARK: - Reading

    /// The change of a number; nil where there is none, or no longer.
    func entry(_ id: Int64) throws -> Entry? {
        try database.read { database in
            try Row.fetchOne(database, sql: Self.select + " WHERE done AND change.id = ?", arguments: [id])
                .map { try Self.entry($0, database) }
        }.flatMap { shows($0) ? $0 : nil }
    }

    /// The newest first, without the contents of their files, which may be many.
    ///
    /// - Parameter path: A file, or a folder, that they are about; nil for all.
    func entries(about path: String?, limit: Int, offset: Int) throws -> (entries: [Entry], total: Int) {
        if access.rules.isEmpty { return try all(about: path, limit: limit, offset: offset) }
        let shown = try all(about: path, limit: Self.maximumChanges * 2, offset: 0).entries.filter(shows)
        return (Array(shown.dropFirst(offset).prefix(limit)), shown.count)
    }

    private func all(about path: String?, limit: Int, offset: Int) throws -> (entries: [Entry], total: Int) {
        try database.read { database in
            var condition = " WHERE done"
            var arguments = StatementArguments()
            if let path {
                condition += """
                     AND id IN (SELECT change FROM file WHERE path IN (:path, :note) OR source IN (:path, :note)
                    OR substr(path, 1, length(:path) + 1) = :path || '/'
                    OR substr(source, 1, length(:path) + 1) = :path || '/')
                    """
                arguments = ["path": path, "note": path + ".md"]
            }
            let total = try Int.fetchOne(database, sql: "SELECT count(*) FROM change" + condition, arguments: arguments)
            let page = StatementArguments(["limit": limit, "offset": offset])
            let rows = try Row.fetchAll(
                database, sql: Self.select + condition + " ORDER BY id DESC LIMIT :limit OFFSET :offset",
                arguments: arguments &+ page)
            return (try rows.map { try Self.entry($0, database, withContents: false) }, total ?? 0)
        }
    }

    /// How many changes it holds, and in how many bytes.
    func size() throws -> (changes: Int, bytes: Int) {
        try database.read { database in
            let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
            let page = try Int.fetchOne(database, sql: "PRAGMA page_size") ?? 0
            return (try Int.fetchOne(database, sql: "SELECT count(*) FROM change") ?? 0, pages * page)
        }
    }

    /// What was prepared and never finished, the newest first: the process ended in between.
    func unfinished() throws -> [Entry] {
        try database.read { database in
            try Row.fetchAll(database, sql: Self.select + " WHERE NOT done ORDER BY id DESC")
                .map { try Self.entry($0, database) }
        }
    }

    private static let select = """
        SELECT id, time, operation, undoes, (SELECT max(id) FROM change later WHERE later.undoes = change.id AND later.done)
        AS undone FROM change
        """

    private static func entry(_ row: Row, _ database: Database, withContents: Bool = true) throws -> Entry {
        let id: Int64 = row["id"]
        let files = try Row.fetchAll(
            database,
            sql: """
                SELECT path, source, kind, trashed, \(withContents ? "b.bytes" : "iif(b.id, x'', NULL)") AS before,
                \(withContents ? "a.bytes" : "iif(a.id, x'', NULL)") AS after FROM file
                LEFT JOIN content b ON b.id = file.before LEFT JOIN content a ON a.id = file.after
                WHERE change = ? ORDER BY place
                """, arguments: [id])
        return Entry(
            id: id, time: row["time"], operation: row["operation"], undoes: row["undoes"], undoneBy: row["undone"],
            files: files.map { .init(change: FileChange($0), trashed: $0["trashed"]) })
    }
}

extension FileChange {
    fileprivate var kind: String {
        switch content {
        case .kept: "kept"
        case .written: "written"
        case .deleted: "deleted"
        }
    }

    fileprivate init(_ row: Row) {
        let before = (row["before"] as Data?).map { Array($0) }
        let after = (row["after"] as Data?).map { Array($0) }
        let source: String? = row["source"]
        self.init(path: VaultPath(trusted: row["path"]), from: source.map(VaultPath.init(trusted:)), content: .kept)
        switch row["kind"] as String {
        case "written": content = .written(before: before, after: after ?? [])
        case "deleted": content = .deleted(before: before ?? [])
        default: break
        }
    }
}
