import GRDB
import Glibc
import KnapJSON
import Synchronization

/// The index of one vault: full text, tags, properties and links, in one SQLite file that may be thrown away.
///
/// A file is identified by its path. Links are kept as they are written; where they lead is decided at the time of the
/// question, because that depends on which other files there are. Canvases have links and nothing else: they are files,
/// and no notes.
final class NoteIndex: Sendable {
    /// Raised with every change of the tables: an index of another version is built anew.
    static let schemaVersion = 3
    let database: DatabasePool
    /// Read from the disk when it is first asked for; it knows the words of a note before others can find the note.
    private let vocabulary = Mutex<Vocabulary?>(nil)

    init(path: String) throws {
        do {
            database = try Self.open(path)
        } catch where Self.isBroken(error) {
            // Everything in it can be had again.
            for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
            database = try Self.open(path)
        }
    }

    private struct OtherVersion: Error {}

    /// Broken or of another version; and not that its disk is full, for instance, which costs no index.
    private static func isBroken(_ error: any Error) -> Bool {
        guard let error = error as? DatabaseError else { return true }
        return ![.SQLITE_FULL, .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_NOMEM, .SQLITE_BUSY]
            .contains(error.resultCode)
    }

    /// Why the index did not take something, for people.
    static func reason(_ error: any Error) -> String {
        guard let error = error as? DatabaseError else { return "\(error)" }
        switch error.resultCode {
        case .SQLITE_FULL: return "the disk of the search index is full"
        case .SQLITE_READONLY: return "the search index is on a read-only disk"
        default: return "the search index: \(error.message ?? "\(error)")"
        }
    }

    private static func open(_ path: String) throws -> DatabasePool {
        var configuration = GRDB.Configuration()
        configuration.maximumReaderCount = 4
        configuration.prepareDatabase { database in
            // The index can be rebuilt, so a power cut may cost the last commits but never the file.
            try database.execute(sql: "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4000; PRAGMA mmap_size = 0")
        }
        let database = try DatabasePool(path: path, configuration: configuration)
        try database.write { database in
            let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            if version == schemaVersion {
                guard try String.fetchOne(database, sql: "PRAGMA quick_check(1)") == "ok" else { throw OtherVersion() }
                return
            }
            guard version == 0 else { throw OtherVersion() }
            try database.execute(sql: schema)
            try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
        }
        return database
    }

    private static let schema = """
        CREATE TABLE file (
            id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, title TEXT NOT NULL, folder TEXT NOT NULL,
            size INTEGER NOT NULL, modified INTEGER NOT NULL, inode INTEGER NOT NULL, version TEXT NOT NULL,
            properties TEXT NOT NULL, folded_path TEXT NOT NULL, folded_name TEXT NOT NULL, is_note INTEGER NOT NULL);
        CREATE INDEX note_modified ON file(modified DESC) WHERE is_note;
        CREATE VIEW note AS SELECT * FROM file WHERE is_note;
        CREATE TABLE tag (note INTEGER NOT NULL, name TEXT NOT NULL, folded TEXT NOT NULL);
        CREATE INDEX tag_note ON tag(note);
        CREATE INDEX tag_folded ON tag(folded);
        CREATE TABLE link (note INTEGER NOT NULL, line INTEGER NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL,
            subpath TEXT NOT NULL, display TEXT, key TEXT NOT NULL);
        CREATE INDEX link_note ON link(note);
        CREATE INDEX link_key ON link(key);
        CREATE TABLE term (text TEXT NOT NULL);
        CREATE VIRTUAL TABLE content USING fts5(
            title, aliases, headings, tags, body, tokenize = "\(Folding.tokenizer)", prefix = '1 2 3');
        """

    // MARK: Writing

    func put(_ notes: [IndexedNote]) throws {
        try database.writeWithoutTransaction { database in
            try database.inTransaction {
                for note in notes { try Self.put(note, database) }
                try learn(notes, database)
                return .commit
            }
            try withVocabulary(database) { $0.unsaved = [] }
        }
    }

    private func learn(_ notes: [IndexedNote], _ database: Database) throws {
        let tokenizer = try Folding.tokenizer(in: database)
        let unsaved = try withVocabulary(database) { vocabulary in
            for note in notes where VaultPath(trusted: note.path).isNote {
                try vocabulary.learn(note.title, tokenizer)
                try vocabulary.learn(note.text, tokenizer)
            }
            return vocabulary.unsaved
        }
        for term in unsaved {
            try database.cachedStatement(sql: "INSERT INTO term VALUES (?)").execute(arguments: [term])
        }
    }

    func withVocabulary<T>(_ database: Database, _ body: (inout Vocabulary) throws -> T) throws -> T {
        try vocabulary.withLock { vocabulary in
            var known = try vocabulary ?? Vocabulary(String.fetchCursor(database, sql: "SELECT text FROM term"))
            vocabulary = nil  // So that it is changed in place.
            defer { vocabulary = known }
            return try body(&known)
        }
    }

    func remove(_ paths: [String]) throws {
        try database.write { database in
            for path in paths { try Self.remove(path, database) }
        }
    }

    private static func put(_ note: IndexedNote, _ database: Database) throws {
        try remove(note.path, database)
        let front = note.parsed.frontMatter
        try database.cachedStatement(
            sql: """
                INSERT INTO file
                    (path, title, folder, size, modified, inode, version, properties, folded_path, folded_name, is_note)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            note.path, note.title, VaultPath(trusted: note.path).folder, note.stamp.size, note.stamp.modifiedNs,
            Int64(bitPattern: note.stamp.inode), note.version,
            JSON.object(front?.properties ?? JSONObject()).serialized(), Folding.text(note.path),
            Folding.text(VaultPath(trusted: note.path).name), VaultPath(trusted: note.path).isNote,
        ])
        let id = database.lastInsertedRowID
        let tags = note.parsed.tags.map(\.name) + (front?.tags ?? [])
        for tag in tags {
            try database.cachedStatement(sql: "INSERT INTO tag VALUES (?, ?, ?)")
                .execute(arguments: [id, tag, folded(tag)])
        }
        for link in note.parsed.links + (front?.links ?? []) {
            try database.cachedStatement(sql: "INSERT INTO link VALUES (?, ?, ?, ?, ?, ?, ?)").execute(arguments: [
                id, link.line, "\(link.kind.name)", link.target, link.subpath, link.display, key(ofTarget: link.target),
            ])
        }
        guard VaultPath(trusted: note.path).isNote else { return }
        try database.cachedStatement(
            sql: "INSERT INTO content (rowid, title, aliases, headings, tags, body) VALUES (?, ?, ?, ?, ?, ?)"
        ).execute(arguments: [
            id, note.title, (front?.aliases ?? []).joined(separator: "\n"),
            note.parsed.headings.map(\.text).joined(separator: "\n"), tags.joined(separator: " "), note.text,
        ])
    }

    private static func remove(_ path: String, _ database: Database) throws {
        guard let id = try Int64.fetchOne(database, sql: "SELECT id FROM file WHERE path = ?", arguments: [path]) else { return }
        for sql in [
            "DELETE FROM file WHERE id = ?", "DELETE FROM tag WHERE note = ?", "DELETE FROM link WHERE note = ?",
            "DELETE FROM content WHERE rowid = ?",
        ] { try database.cachedStatement(sql: sql).execute(arguments: [id]) }
    }

    /// What links to one file have in common, however they are written: the last part of the path, without `.md`.
    static func key(ofTarget target: String) -> String {
        let last = folded(target.split(separator: "/").last.map(String.init) ?? target)
        return last.hasSuffix(".md") ? String(last.dropLast(3)) : last
    }

    // MARK: Reading

    /// The stamp of every file that is known, to find what changed since the last start.
    func stamps() throws -> [String: VaultFiles.Stamp] {
        try database.read { database in
            var stamps: [String: VaultFiles.Stamp] = [:]
            let rows = try Row.fetchCursor(database, sql: "SELECT path, size, modified, inode FROM file")
            while let row = try rows.next() {
                stamps[row[0]] = VaultFiles.Stamp(
                    size: row[1], modifiedNs: row[2], inode: UInt64(bitPattern: row[3] as Int64))
            }
            return stamps
        }
    }

    /// The version of every note's content.
    func versions() throws -> [String: String] {
        try database.read { database in
            var versions: [String: String] = [:]
            let rows = try Row.fetchCursor(database, sql: "SELECT path, version FROM note")
            while let row = try rows.next() { versions[row[0]] = row[1] }
            return versions
        }
    }

    func count() throws -> Int { try database.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM note") ?? 0 } }
}
