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

    /// What is kept; the oldest go first, and the last change stays however large it is.
    struct Limits: Sendable {
        var changes = 10_000
        /// Of contents, each of which is kept once.
        var bytes = 512 << 20
        /// In seconds: a year.
        var age = 365.0 * 86_400
    }

    /// How a change that was prepared came out.
    enum Settlement: Sendable {
        /// - Parameter trashed: Where deleted files went, by their place in the change.
        case finish(Int64, trashed: [Int: String])
        case forget(Int64)
    }

    private struct Standing {
        /// Nil where it cannot be opened.
        var database: DatabasePool?
        var problem: String?
        var notice: String?
        var token = ""
        /// What could not be written yet.
        var owed: [Settlement] = []
        /// Bytes taken since what is too much was last looked for.
        var grown = 0
    }

    /// What all views of one vault share.
    private final class Shared: Sendable {
        let standing = Mutex(Standing())
        let opening = Mutex(())
    }

    private let path: String
    private let limits: Limits
    private let shared: Shared
    /// Changes of other files are not shown.
    private let access: PathAccess

    /// A journal that is broken is set aside, never deleted: it may hold what a person wants back. One that cannot be
    /// opened at all is done without until it can be; ``problem`` says so.
    init(path: String, limits: Limits = Limits(), showing access: PathAccess = .all) {
        self.path = path
        self.limits = limits
        self.access = access
        shared = Shared()
        shared.standing.withLock { $0.token = Self.newToken() }
        openIfNeeded()
    }

    /// The same journal for a view of the vault.
    init(of other: ChangeJournal, showing access: PathAccess) {
        path = other.path
        limits = other.limits
        shared = other.shared
        self.access = access
    }

    private func shows(_ entry: Entry) -> Bool {
        entry.files.allSatisfy { file in
            access.sees(file.change.path.text) && (file.change.from.map { access.sees($0.text) } ?? true)
        }
    }

    private func open() throws {
        let opened: (DatabasePool, String)
        var notice: String?
        do {
            opened = try JournalFile.open(path, newToken: Self.newToken())
        } catch where JournalFile.isBroken(error) {
            notice = JournalFile.setAside(path).map { "the one before was damaged or of another version, and is kept as '\($0)'" }
            opened = try JournalFile.open(path, newToken: Self.newToken())
        }
        shared.standing.withLock { [notice] standing in
            (standing.database, standing.token, standing.problem) = (opened.0, opened.1, nil)
            standing.notice = notice ?? standing.notice
        }
    }

    /// The disk that had no room at the start may have some now.
    private func openIfNeeded() {
        shared.opening.withLock { _ in
            guard shared.standing.withLock({ $0.database == nil }) else { return }
            do { try open() } catch { shared.standing.withLock { $0.problem = "the journal '\(path)' cannot be opened: \(error)" } }
        }
    }

    private static func newToken() -> String { String(UInt32.random(in: 0 ... .max), radix: 36) }

    private func database() throws -> DatabasePool {
        openIfNeeded()
        let (database, problem) = shared.standing.withLock { ($0.database, $0.problem) }
        guard let database else {
            throw VaultError(.failedPrecondition, "there is no history: \(problem ?? "it is not open")")
        }
        return database
    }

    /// SQLite's setting of that name: 2 is FULL.
    var synchronous: Int {
        get throws { try database().writeWithoutTransaction { try Int.fetchOne($0, sql: "PRAGMA synchronous") ?? 0 } }
    }

    /// Names the temporary files of a change, also beside those of another host with the same vault.
    func temporaries(of id: Int64) -> String { shared.standing.withLock { "\($0.token)-\(id)" } }

    /// What became of the journal that was here before; nil where this is that.
    var notice: String? { shared.standing.withLock { $0.notice } }

    // MARK: - Writing

    /// Notes what is about to be done, and answers its number. It is on disk when this returns.
    func prepare(
        _ operation: String, _ changes: [FileChange], undoing undone: Int64? = nil, now: Double
    ) throws -> Int64 {
        do {
            do {
                return try insert(operation, changes, undone, now)
            } catch where JournalFile.isBroken(error) {
                try open()
                return try insert(operation, changes, undone, now)
            }
        } catch {
            note(error)
            throw error
        }
    }

    private func insert(
        _ operation: String, _ changes: [FileChange], _ undone: Int64?, _ now: Double
    ) throws -> Int64 {
        let bytes = changes.reduce(0) { $0 + ($1.contents.before?.count ?? 0) + ($1.contents.after?.count ?? 0) }
        shared.standing.withLock { $0.grown += bytes }
        return try database().write { database in
            try database.execute(
                sql: "INSERT INTO change (time, operation, undoes, done) VALUES (?, ?, ?, 0)",
                arguments: [now, operation, undone])
            let id = database.lastInsertedRowID
            let file = try database.cachedStatement(
                sql: "INSERT INTO file (change, place, path, source, kind, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)")
            for (place, change) in changes.enumerated() {
                let contents = change.contents
                try file.execute(
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
        let find = try database.cachedStatement(sql: "SELECT id FROM content WHERE hash = ?")
        if let known = try Int64.fetchOne(find, arguments: [hash]) { return known }
        try database.cachedStatement(sql: "INSERT INTO content (hash, bytes) VALUES (?, ?)")
            .execute(arguments: [hash, Data(bytes)])
        return database.lastInsertedRowID
    }

    /// Notes how a change came out, and what could not be noted before. Where that fails it is tried again with the next
    /// one, and the vault's files tell at the next start.
    func settle(_ settlement: Settlement) {
        guard shared.standing.withLock({ $0.database }) != nil else { return }
        let owed = shared.standing.withLock { standing in
            defer { standing.owed = [] }
            return standing.owed + [settlement]
        }
        for (place, each) in owed.enumerated() {
            do {
                try write(each)
                if case .finish(let id, _) = each { try pruneWhereDue(after: id) }
            } catch {
                shared.standing.withLock { $0.owed = Array(owed[place...]) }
                return note(error)
            }
        }
        shared.standing.withLock { if $0.database != nil { $0.problem = nil } }
    }

    /// Why it has not taken what came last; nil where it has.
    var problem: String? {
        openIfNeeded()
        return shared.standing.withLock { $0.problem }
    }

    func note(_ error: any Error) {
        shared.standing.withLock { if $0.database != nil { $0.problem = "\(error)" } }
    }

    private func write(_ settlement: Settlement) throws {
        let pool = try database()
        try pool.write { database in
            switch settlement {
            case .finish(let id, let trashed):
                for (place, name) in trashed {
                    try database.execute(
                        sql: "UPDATE file SET trashed = ? WHERE change = ? AND place = ?", arguments: [name, id, place])
                }
                try database.execute(sql: "UPDATE change SET done = 1 WHERE id = ?", arguments: [id])
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

    private static let prunedAfterBytes = 16 << 20

    /// Has what is too old or too much go, and gives the disk its room back.
    private func pruneWhereDue(after id: Int64) throws {
        let isDue = shared.standing.withLock { standing in
            guard id % 100 == 0 || standing.grown > min(Self.prunedAfterBytes, limits.bytes) else { return false }
            standing.grown = 0
            return true
        }
        guard isDue else { return }
        let pool = try database()
        let hasShrunk = try pool.write { try prune($0) }
        if hasShrunk { _ = try pool.writeWithoutTransaction { try $0.checkpoint(.truncate) } }
    }

    private func prune(_ database: Database) throws -> Bool {
        // At least the last one stays, however large.
        guard let last = try Int64.fetchOne(database, sql: "SELECT max(id) FROM change WHERE done") else { return false }
        let changes = database.totalChangesCount
        let oldest = Double(time(nil)) - limits.age
        try database.execute(
            sql: "DELETE FROM change WHERE done AND id < ? AND (id <= ? OR time < ?)",
            arguments: [last, last - Int64(limits.changes), oldest])
        if database.totalChangesCount != changes { try Self.dropContents(database) }
        func bytes() throws -> Int { try Int.fetchOne(database, sql: "SELECT total(length(bytes)) FROM content") ?? 0 }
        while try bytes() > limits.bytes {
            let count = try Int.fetchOne(database, sql: "SELECT count(*) FROM change WHERE done AND id < ?", arguments: [last]) ?? 0
            guard count > 0 else { break }
            try database.execute(
                sql: "DELETE FROM change WHERE id IN (SELECT id FROM change WHERE done AND id < ? ORDER BY id LIMIT ?)",
                arguments: [last, max(1, count / 8)])
            try Self.dropContents(database)
        }
        guard database.totalChangesCount != changes else { return false }
        try database.execute(sql: "PRAGMA incremental_vacuum")
        return true
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
        try database().read { database in
            try Row.fetchOne(database, sql: Self.select + " WHERE done AND change.id = ?", arguments: [id])
                .map { try Self.entry($0, database) }
        }.flatMap { shows($0) ? $0 : nil }
    }

    /// What a file had before the first change of it that came after another one; nil where there is none.
    func content(of path: String, after id: Int64) throws -> [UInt8]? {
        try database().read { database in
            try Data.fetchOne(
                database,
                sql: """
                    SELECT bytes FROM file JOIN change ON change.id = change JOIN content ON content.id = before
                    WHERE path = ? AND change > ? AND done ORDER BY change LIMIT 1
                    """, arguments: [path, id]
            ).map { Array($0) }
        }
    }

    /// The newest first, without the contents of their files, which may be many.
    ///
    /// - Parameter path: A file, or a folder, that they are about; nil for all.
    func entries(about path: String?, limit: Int, offset: Int) throws -> (entries: [Entry], total: Int) {
        if access.rules.isEmpty { return try all(about: path, limit: limit, offset: offset) }
        let shown = try all(about: path, limit: limits.changes * 2, offset: 0).entries.filter(shows)
        return (Array(shown.dropFirst(offset).prefix(limit)), shown.count)
    }

    private func all(about path: String?, limit: Int, offset: Int) throws -> (entries: [Entry], total: Int) {
        try database().read { database in
            var condition = " WHERE done"
            var arguments = StatementArguments()
            if let path {
                condition += """
                     AND id IN (SELECT change FROM file WHERE path IN (:path, :note) OR source IN (:path, :note)
                    OR substr(path, 1, length(:path) + 1) = :path || '/'
                    OR substr(source, 1, length(:path) + 1) = :path || '/'
                    OR kind = 'folder' AND (substr(:path, 1, length(path) + 1) = path || '/'
                    OR substr(:path, 1, length(source) + 1) = source || '/'))
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
        guard problem == nil else { return (0, 0) }
        return try database().read { database in
            let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
            let page = try Int.fetchOne(database, sql: "PRAGMA page_size") ?? 0
            return (try Int.fetchOne(database, sql: "SELECT count(*) FROM change") ?? 0, pages * page)
        }
    }

    /// What was prepared and never finished, the newest first: the process ended in between.
    func unfinished() throws -> [Entry] {
        guard shared.standing.withLock({ $0.database }) != nil else { return [] }
        return try database().read { database in
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
        case .folder: "folder"
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
        case "folder": content = .folder
        default: break
        }
    }
}
