import GRDB
import Glibc

/// The file of a journal: how it is made, opened and set aside.
enum JournalFile {
    private static let schemaVersion = 1

    private struct OtherVersion: Error {}

    /// - Parameter newToken: What the host that makes the file is told apart by.
    static func open(_ path: String, newToken: String) throws -> (DatabasePool, token: String) {
        var configuration = GRDB.Configuration()
        configuration.maximumReaderCount = 2
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA foreign_keys = ON; PRAGMA cache_size = -1000")
            guard !database.configuration.readonly else { return }
            // What is pruned gives its room back; a log that a large change made long does not stay long.
            try database.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_size_limit = 4194304")
        }
        let database = try DatabasePool(path: path, configuration: configuration)
        // Opening a pool sets it to NORMAL, with which a commit may be lost to a power cut.
        try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        let token = try database.write { database in
            switch try Int.fetchOne(database, sql: "PRAGMA user_version") {
            case 0:
                try database.execute(sql: schema)
                try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
            case schemaVersion: break
            default: throw OtherVersion()
            }
            // What is read at every start is looked at now.
            _ = try Row.fetchAll(database, sql: "SELECT * FROM change LEFT JOIN file ON file.change = change.id WHERE NOT done")
            try database.execute(sql: "CREATE TABLE IF NOT EXISTS instance (token TEXT NOT NULL)")
            if let known = try String.fetchOne(database, sql: "SELECT token FROM instance") { return known }
            try database.execute(sql: "INSERT INTO instance VALUES (?)", arguments: [newToken])
            return newToken
        }
        return (database, token)
    }

    /// Whether the file is none of ours, or none any more; and not that the disk is full, for instance.
    static func isBroken(_ error: any Error) -> Bool {
        guard let error = error as? DatabaseError else { return error is OtherVersion }
        return [.SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT].contains(error.resultCode)
    }

    /// Gives a file that cannot be used a name that tells when; returns that. Nil where it cannot.
    static func setAside(_ path: String) -> String? {
        var (now, parts) = (time(nil), tm())
        gmtime_r(&now, &parts)
        var text = [CChar](repeating: 0, count: 32)
        strftime(&text, text.count, "%Y%m%dT%H%M%SZ", &parts)
        let moment = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        for attempt in 0..<100 {
            let name = "\(path).broken-\(moment)\(attempt == 0 ? "" : "-\(attempt)")"
            guard access(name, F_OK) != 0 else { continue }
            guard rename(path, name) == 0 else { return nil }
            for suffix in ["-wal", "-shm"] { rename(path + suffix, name + suffix) }
            return name
        }
        return nil
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
}
