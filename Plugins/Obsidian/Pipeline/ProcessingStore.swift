import GRDB
import Glibc
import KnapJSON

/// What the processors answered, by the content that they read, and where they failed; in one SQLite file that may be
/// thrown away.
///
/// Notes of one content have one result, wherever they are and whenever that content comes back.
final class ProcessingStore: Sendable {
    struct Result: Sendable {
        var key: String
        var value: JSON
    }

    struct Failure: Sendable {
        var path: String
        var processor: String
        /// The content and what read it: the same is not tried again.
        var version: String
        var key: String
        var reason: String
        /// Seconds since 1970.
        var time: Double
    }

    private static let schemaVersion = 1
    let database: DatabasePool

    init(path: String) throws {
        do {
            database = try Self.open(path)
        } catch let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_MISMATCH].contains(error.resultCode) {
            for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
            database = try Self.open(path)
        }
    }

    private static func open(_ path: String) throws -> DatabasePool {
        var configuration = GRDB.Configuration()
        configuration.maximumReaderCount = 2
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2000; PRAGMA mmap_size = 0")
        }
        let database = try DatabasePool(path: path, configuration: configuration)
        try database.write { database in
            let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            if version == schemaVersion { return }
            guard version == 0 else { throw DatabaseError(resultCode: .SQLITE_MISMATCH) }
            try database.execute(sql: schema)
            try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
        }
        return database
    }

    private static let schema = """
        CREATE TABLE note (path TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID;
        CREATE INDEX note_version ON note (version);
        CREATE TABLE result (
            version TEXT NOT NULL, processor TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (version, processor)) WITHOUT ROWID;
        CREATE TABLE failure (
            path TEXT NOT NULL, processor TEXT NOT NULL, version TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL,
            time REAL NOT NULL, PRIMARY KEY (path, processor)) WITHOUT ROWID;
        CREATE TABLE task (
            version TEXT NOT NULL, line INTEGER NOT NULL, status TEXT NOT NULL, due TEXT, tags TEXT NOT NULL,
            value TEXT NOT NULL);
        CREATE INDEX task_version ON task (version);
        """

    // MARK: - Which content notes have

    /// Takes over which notes there are, and drops what belongs to none.
    func reconcile(_ notes: [String: String]) throws {
        try database.write { database in
            let known = try Row.fetchAll(database, sql: "SELECT path, version FROM note")
                .reduce(into: [String: String]()) { $0[$1[0]] = $1[1] }
            for path in known.keys where notes[path] == nil { try Self.forget(path, database) }
            for (path, version) in notes where known[path] != version { try Self.note(path, version, database) }
            try Self.collect(database)
        }
    }

    func note(_ path: String, _ version: String) throws { try database.write { try Self.note(path, version, $0) } }

    func forget(_ path: String) throws { try database.write { try Self.forget(path, $0) } }

    private static func note(_ path: String, _ version: String, _ database: Database) throws {
        try database.cachedStatement(
            sql: "INSERT INTO note VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET version = excluded.version"
        ).execute(arguments: [path, version])
        try database.cachedStatement(sql: "DELETE FROM failure WHERE path = ? AND version != ?")
            .execute(arguments: [path, version])
    }

    private static func forget(_ path: String, _ database: Database) throws {
        try database.cachedStatement(sql: "DELETE FROM note WHERE path = ?").execute(arguments: [path])
        try database.cachedStatement(sql: "DELETE FROM failure WHERE path = ?").execute(arguments: [path])
    }

    /// Drops the results of contents that no note has any more.
    func collect() throws { try database.write(Self.collect) }

    private static func collect(_ database: Database) throws {
        for table in ["result", "task"] {
            try database.execute(
                sql: "DELETE FROM \(table) WHERE NOT EXISTS (SELECT 1 FROM note WHERE note.version = \(table).version)")
        }
    }

    // MARK: - Writing

    struct News: Sendable {
        var results: [(processor: String, result: Result)] = []
        var failures: [Failure] = []
        /// Processors whose results were made without one that there is now.
        var outdated: Set<String> = []

        var isEmpty: Bool { results.isEmpty && failures.isEmpty }
    }

    func save(_ news: News, of path: String, _ version: String) throws {
        guard !news.isEmpty else { return }
        try database.write { database in
            for name in news.outdated {
                try database.cachedStatement(sql: "DELETE FROM result WHERE version = ? AND processor = ?")
                    .execute(arguments: [version, name])
            }
            for (processor, result) in news.results {
                try database.cachedStatement(sql: "INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?)")
                    .execute(arguments: [version, processor, result.key, result.value.serialized()])
                try database.cachedStatement(sql: "DELETE FROM failure WHERE path = ? AND processor = ?")
                    .execute(arguments: [path, processor])
                if processor == "tasks" { try Self.replaceTasks(result.value, version, database) }
            }
            for failure in news.failures {
                try database.cachedStatement(sql: "INSERT OR REPLACE INTO failure VALUES (?, ?, ?, ?, ?, ?)")
                    .execute(arguments: [
                        failure.path, failure.processor, failure.version, failure.key, failure.reason, failure.time,
                    ])
            }
        }
    }

    private static func replaceTasks(_ value: JSON, _ version: String, _ database: Database) throws {
        try database.cachedStatement(sql: "DELETE FROM task WHERE version = ?").execute(arguments: [version])
        for task in value["tasks"]?.arrayValue ?? [] {
            let tags = (task["tags"]?.arrayValue ?? []).compactMap(\.stringValue).map { "#" + folded($0) + "#" }
            try database.cachedStatement(sql: "INSERT INTO task VALUES (?, ?, ?, ?, ?, ?)").execute(arguments: [
                version, task["line"]?.intValue, task["status"]?.stringValue, task["due"]?.stringValue, tags.joined(),
                task.serialized(),
            ])
        }
    }

    /// Has failures tried again: of one note or all, of one processor or all.
    func forgetFailures(of path: String?, by processor: String?) throws {
        try database.write { database in
            try database.execute(
                sql: "DELETE FROM failure WHERE (:path IS NULL OR path = :path) AND (:processor IS NULL OR processor = :processor)",
                arguments: ["path": path, "processor": processor])
        }
    }

    // MARK: - Reading

    /// Notes without a result of a processor for their content, and without word of why.
    func lacking(_ processor: String, key: String) throws -> [String] {
        try database.read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT path FROM note WHERE NOT EXISTS (
                        SELECT 1 FROM result WHERE result.version = note.version AND processor = :processor AND key = :key)
                    AND NOT EXISTS (
                        SELECT 1 FROM failure WHERE failure.path = note.path AND failure.version = note.version
                        AND processor = :processor AND key = :key)
                    """, arguments: ["processor": processor, "key": key])
        }
    }

    /// The notes that have a result of a processor for their content.
    func done(_ processor: String, key: String) throws -> [String] {
        try database.read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT path FROM note JOIN result ON result.version = note.version
                    WHERE processor = ? AND key = ?
                    """, arguments: [processor, key])
        }
    }

    /// How many notes there are.
    func count() throws -> Int { try database.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM note") ?? 0 } }

    func results(of version: String) throws -> [String: Result] {
        try database.read { database in
            try Row.fetchAll(database, sql: "SELECT processor, key, value FROM result WHERE version = ?", arguments: [version])
                .reduce(into: [:]) { $0[$1[0]] = Result(key: $1[1], value: (try? JSON.parse($1[2] as String)) ?? [:]) }
        }
    }

    /// The latest first.
    func failures(of path: String? = nil, by processor: String? = nil) throws -> [Failure] {
        try database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM failure WHERE (:path IS NULL OR path = :path)
                    AND (:processor IS NULL OR processor = :processor) ORDER BY time DESC, path, processor
                    """, arguments: ["path": path, "processor": processor]
            ).map {
                Failure(
                    path: $0["path"], processor: $0["processor"], version: $0["version"], key: $0["key"],
                    reason: $0["reason"], time: $0["time"])
            }
        }
    }

    /// Tasks that fulfil a condition on `note` and `task`: those that are due first, then by note and line.
    func tasks(where condition: SQLCondition) throws -> [(path: String, task: JSON)] {
        try database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT note.path, task.value FROM note JOIN task ON task.version = note.version WHERE \(condition.sql)
                    ORDER BY due IS NULL, due, note.path, line
                    """, arguments: condition.arguments
            ).map { ($0[0], (try? JSON.parse($0[1] as String)) ?? [:]) }
        }
    }
}
