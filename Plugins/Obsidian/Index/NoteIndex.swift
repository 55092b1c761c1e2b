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
    static let schemaVersion = 5
    private let path: String
    private let pool: Mutex<DatabasePool>
    /// Found damaged since it was opened. See ``rebuild()``.
    private let damage = Mutex(Damage())
    /// Notes that were written since the log was last taken into the file.
    private let unsettled = Atomic<Int>(0)
    /// Read from the disk when it is first asked for; it knows the words of a note before others can find the note.
    private let vocabulary = Mutex<Vocabulary?>(nil)

    init(path: String) throws {
        self.path = path
        do {
            pool = Mutex(try Self.open(path))
        } catch where Self.isBroken(error) {
            pool = Mutex(try Self.openAnew(path))
        }
    }

    var database: DatabasePool { pool.withLock { $0 } }

    /// Everything in it can be had again.
    private static func openAnew(_ path: String) throws -> DatabasePool {
        for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
        return try open(path)
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

    // MARK: Damage

    private struct Damage {
        var isFound = false
        var tell: @Sendable () -> Void = {}
    }

    /// Reads; what is found damaged meanwhile is told, and is an error for this once.
    func read<T>(_ body: (Database) throws -> T) throws -> T {
        do {
            return try database.read(body)
        } catch let error as DatabaseError where Self.isDamage(error) || error.resultCode == .SQLITE_MISUSE {
            // A connection that is closed is what a reader holds that came in the moment of a rebuilding.
            found(error)
            throw VaultError(.unavailable, "the search index was found damaged and is being built anew; ask again in a moment")
        }
    }

    private static func isDamage(_ error: DatabaseError) -> Bool {
        [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode)
    }

    /// Keeps in mind that the index is damaged, where that is what the error says.
    func found(_ error: any Error) {
        guard let error = error as? DatabaseError, Self.isDamage(error) else { return }
        let tell = damage.withLock { damage in
            damage.isFound = true
            return damage.tell
        }
        tell()
    }

    var isDamaged: Bool { damage.withLock { $0.isFound } }

    /// `tell` is called on any thread when damage is found.
    func onDamage(_ tell: @escaping @Sendable () -> Void) { damage.withLock { $0.tell = tell } }

    /// Begins again with an empty index; nothing may write to it meanwhile.
    func rebuild() throws {
        try pool.withLock { pool in
            // Whoever closes a database removes the log beside it, which must not be the new one's.
            try pool.close()
            pool = try Self.openAnew(path)
        }
        vocabulary.withLock { $0 = nil }
        damage.withLock { $0.isFound = false }
    }

    /// Reads all of a file that is not too large for a moment, and throws what is wrong with it; of others it is found
    /// where it is met.
    func verify() throws {
        try read { database in
            let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
            guard pages < 1 << 16 else { return }
            guard try String.fetchOne(database, sql: "PRAGMA quick_check(1)") == "ok" else {
                throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "the search index is damaged")
            }
        }
    }

    private static func open(_ path: String) throws -> DatabasePool {
        var configuration = GRDB.Configuration()
        configuration.maximumReaderCount = 4
        configuration.prepareDatabase { database in
            // The index can be rebuilt, so a power cut may cost the last commits but never the file.
            try database.execute(
                sql: """
                    PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4000; PRAGMA mmap_size = 0;
                    PRAGMA wal_autocheckpoint = 4000
                    """)
            database.add(tokenizer: GramTokenizer.self)
        }
        let database = try DatabasePool(path: path, configuration: configuration)
        try database.write { database in
            let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            if version == schemaVersion {
                return
            }
            guard version == 0 else { throw OtherVersion() }
            try database.execute(sql: schema)
            try database.execute(sql: gramSchema)
            try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
        }
        // One connection writes, in no order of its tables' keys; those that read have their own.
        try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA cache_size = -32000") }
        return database
    }

    private static let schema = """
        CREATE TABLE file (
            id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, title TEXT NOT NULL, folder TEXT NOT NULL,
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
            title, aliases, headings, tags, body, tokenize = "\(Folding.tokenizer)", prefix = '1 2');
        INSERT INTO content(content, rank) VALUES ('hashsize', 24000000), ('automerge', 8);
        """

    // MARK: Writing

    func put(_ notes: [IndexedNote]) throws {
        try database.writeWithoutTransaction { database in
            try database.inTransaction {
                let writer = try Writer(database)
                // The last one of a path, if somebody gives several.
                let paths = Dictionary(notes.enumerated().map { ($1.path, $0) }) { $1 }
                try writer.remove(paths.keys)
                for (place, note) in notes.enumerated() where paths[note.path] == place { try writer.insert(note) }
                try learn(notes, database)
                if notes.count >= Self.many { try Self.scatter(database) }
                return .commit
            }
            try withVocabulary(database) { $0.unsaved = [] }
        }
        unsettled.add(notes.count, ordering: .relaxed)
    }

    /// Takes the log into the file, so that no commit has to; nobody waits for it but who calls, and nobody may call
    /// ``rebuild()`` meanwhile.
    func settle() throws {
        guard unsettled.load(ordering: .relaxed) >= 32 else { return }
        unsettled.store(0, ordering: .relaxed)
        // By a connection of its own: the one that writes has other things to do.
        try DatabaseQueue(path: path).writeWithoutTransaction { _ = try $0.checkpoint(.passive) }
    }

    private func learn(_ notes: [IndexedNote], _ database: Database) throws {
        let tokenizer = try Folding.tokenizer(in: database)
        let words = try notes.filter(\.isNote).map { note in
            try note.words ?? WordSet([note.title, note.text], tokenizer)
        }
        let unsaved = try withVocabulary(database) { vocabulary in
            for words in words { vocabulary.learn(words) }
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
            try Writer(database).remove(paths)
        }
    }

    /// The statements that write one note, looked up once for many.
    private struct Writer {
        private let database: Database
        private let file: Statement, tag: Statement, link: Statement, content: Statement
        private let find: Statement, removals: [Statement]

        init(_ database: Database) throws {
            self.database = database
            file = try database.cachedStatement(
                sql: """
                    INSERT INTO file
                        (path, title, folder, size, modified, inode, version, properties, folded_path, folded_name, is_note)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """)
            tag = try database.cachedStatement(sql: "INSERT INTO tag VALUES (?, ?, ?)")
            link = try database.cachedStatement(sql: "INSERT INTO link VALUES (?, ?, ?, ?, ?, ?, ?)")
            content = try database.cachedStatement(
                sql: "INSERT INTO content (rowid, title, aliases, headings, tags, body) VALUES (?, ?, ?, ?, ?, ?)")
            find = try database.cachedStatement(sql: "SELECT id FROM file WHERE path = ?")
            removals = try [
                "DELETE FROM file WHERE id = ?", "DELETE FROM tag WHERE note = ?", "DELETE FROM link WHERE note = ?",
                "DELETE FROM content WHERE rowid = ?",
            ].map { try database.cachedStatement(sql: $0) }
        }

        /// One that is not there, or no longer.
        func insert(_ note: IndexedNote) throws {
            try file.execute(arguments: [
                note.path, note.title, note.folder, note.stamp.size, note.stamp.modifiedNs,
                Int64(bitPattern: note.stamp.inode), note.version, note.properties, note.foldedPath, note.foldedName,
                note.isNote,
            ])
            let id = database.lastInsertedRowID
            for tag in note.tags { try self.tag.execute(arguments: [id, tag.name, tag.folded]) }
            for (link, key) in note.links {
                try self.link.execute(arguments: [
                    id, link.line, link.kind.name, link.target, link.subpath, link.display, key,
                ])
            }
            guard note.isNote else { return }
            try content.execute(arguments: [
                id, note.title, note.aliases, note.headings, note.tags.map(\.name).joined(separator: " "), note.text,
            ])
        }

        /// All that go before any that comes, in the order of their numbers: FTS5 collects what it is told for a part of
        /// many notes, and begins another part with every number below the last one.
        func remove(_ paths: some Sequence<String>) throws {
            let ids = try paths.compactMap { try Int64.fetchOne(find, arguments: [$0]) }
            for id in Set(ids).sorted() {
                for removal in removals { try removal.execute(arguments: [id]) }
            }
        }
    }

    /// What links to one file have in common, however they are written: the last part of the path, without `.md`.
    static func key(ofTarget target: String) -> String {
        let last = folded(target.split(separator: "/").last.map(String.init) ?? target)
        return last.hasSuffix(".md") ? String(last.dropLast(3)) : last
    }

    /// Notes whose content is as it was, and only the file is another.
    func restamp(_ files: [(path: String, stamp: VaultFiles.Stamp)]) throws {
        guard !files.isEmpty else { return }
        try database.write { database in
            for (path, stamp) in files {
                try database.cachedStatement(sql: "UPDATE file SET size = ?, modified = ?, inode = ? WHERE path = ?")
                    .execute(arguments: [stamp.size, stamp.modifiedNs, Int64(bitPattern: stamp.inode), path])
            }
        }
    }

    // MARK: Reading

    /// What the index has of some files: the version of the content, and the stamp.
    func versions(of paths: [String]) throws -> [String: (version: String, stamp: VaultFiles.Stamp)] {
        try read { database in
            var versions: [String: (String, VaultFiles.Stamp)] = [:]
            for path in paths {
                let statement = try database.cachedStatement(
                    sql: "SELECT version, size, modified, inode FROM file WHERE path = ?")
                guard let row = try Row.fetchOne(statement, arguments: [path]) else { continue }
                versions[path] = (
                    row[0], VaultFiles.Stamp(size: row[1], modifiedNs: row[2], inode: UInt64(bitPattern: row[3] as Int64))
                )
            }
            return versions
        }
    }

    /// The stamp of every file that is known, to find what changed since the last start.
    func stamps() throws -> [String: VaultFiles.Stamp] {
        try read { database in
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
        try read { database in
            var versions: [String: String] = [:]
            let rows = try Row.fetchCursor(database, sql: "SELECT path, version FROM note")
            while let row = try rows.next() { versions[row[0]] = row[1] }
            return versions
        }
    }

    func count() throws -> Int { try read { try Int.fetchOne($0, sql: "SELECT count(*) FROM note") ?? 0 } }
}
