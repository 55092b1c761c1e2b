import GRDB
import Glibc

import struct Foundation.Data

/// The vectors of a vault's notes on the disk, in a file that may be thrown away: it is made anew when it is broken, of
/// another version or of another model.
final class VectorStore: Sendable {
    /// Raised with every change of the table, of what a chunk is, or of how it becomes a vector.
    private static let formatVersion = 1
    private let database: DatabaseQueue

    /// What is known of one note.
    struct Note: Sendable {
        var path: String
        /// Of the content that it was made of.
        var version: String
        var chunks: [Chunk]
    }

    struct Chunk: Sendable, Equatable {
        /// From 0.
        var lines: Range<Int>
        /// Empty for what stands before the first.
        var heading: String
        var vector: QuantisedVector
    }

    init(path: String) throws {
        do {
            database = try Self.open(path)
        } catch  where Self.isBroken(error) {
            for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
            database = try Self.open(path)
        }
    }

    private struct OtherVersion: Error {}

    /// Broken or of another version; and not that its disk is full, for instance.
    private static func isBroken(_ error: any Error) -> Bool {
        guard let error = error as? DatabaseError else { return true }
        return [.SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR].contains(error.resultCode)
    }

    private static func open(_ path: String) throws -> DatabaseQueue {
        var configuration = GRDB.Configuration()
        configuration.prepareDatabase { database in
            try database.execute(
                sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2000")
        }
        let database = try DatabaseQueue(path: path, configuration: configuration)
        try database.writeWithoutTransaction { database in
            let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            guard version == 0 || version == formatVersion else { throw OtherVersion() }
            if version == formatVersion {
                guard try String.fetchOne(database, sql: "PRAGMA quick_check(1)") == "ok" else { throw OtherVersion() }
                return
            }
            try database.inTransaction {
                try database.execute(
                    sql: """
                        CREATE TABLE model (identity TEXT NOT NULL);
                        CREATE TABLE note (path TEXT PRIMARY KEY, version TEXT NOT NULL, chunks BLOB NOT NULL);
                        PRAGMA user_version = \(formatVersion);
                        """)
                return .commit
            }
        }
        return database
    }

    /// Forgets everything that another model made.
    func use(model identity: String) throws {
        try database.write { database in
            guard try String.fetchOne(database, sql: "SELECT identity FROM model") != identity else { return }
            try database.execute(sql: "DELETE FROM note; DELETE FROM model")
            try database.execute(sql: "INSERT INTO model VALUES (?)", arguments: [identity])
        }
    }

    func versions() throws -> [String: String] {
        try database.read { database in
            var versions: [String: String] = [:]
            let rows = try Row.fetchCursor(database, sql: "SELECT path, version FROM note")
            while let row = try rows.next() { versions[row[0]] = row[1] }
            return versions
        }
    }

    /// Every note whose vectors can be read; one that cannot is forgotten, so that it is made again.
    func notes(_ each: (Note) -> Void) throws {
        var broken: [String] = []
        try database.read { database in
            let rows = try Row.fetchCursor(database, sql: "SELECT path, version, chunks FROM note")
            while let row = try rows.next() {
                if let chunks = Self.chunks(row[2]) {
                    each(Note(path: row[0], version: row[1], chunks: chunks))
                } else {
                    broken.append(row[0])
                }
            }
        }
        if !broken.isEmpty { try change(put: [], remove: broken) }
    }

    func change(put notes: [Note], remove paths: [String]) throws {
        try database.write { database in
            for path in paths {
                try database.cachedStatement(sql: "DELETE FROM note WHERE path = ?").execute(arguments: [path])
            }
            for note in notes {
                try database.cachedStatement(sql: "INSERT OR REPLACE INTO note VALUES (?, ?, ?)")
                    .execute(arguments: [note.path, note.version, Data(Self.bytes(note.chunks))])
            }
        }
    }

    // MARK: Bytes

    /// Of each chunk: its first line and the one behind its last, its scale, the length of its heading, the heading, and
    /// its numbers; all little-endian.
    static func bytes(_ chunks: [Chunk]) -> [UInt8] {
        var bytes: [UInt8] = []
        func put(_ number: UInt32) { withUnsafeBytes(of: number.littleEndian) { bytes += $0 } }
        for chunk in chunks {
            put(UInt32(clamping: chunk.lines.lowerBound))
            put(UInt32(clamping: chunk.lines.upperBound))
            put(chunk.vector.scale.bitPattern)
            let heading = Array(chunk.heading.utf8)
            put(UInt32(heading.count))
            bytes += heading
            bytes += chunk.vector.numbers.map { UInt8(bitPattern: $0) }
        }
        return bytes
    }

    static func chunks(_ data: Data) -> [Chunk]? {
        let bytes = Array(data)
        var chunks: [Chunk] = []
        var place = 0
        func number() -> UInt32? {
            guard place + 4 <= bytes.count else { return nil }
            defer { place += 4 }
            return bytes[place..<place + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        while place < bytes.count {
            guard let first = number(), let end = number(), let scale = number(), let length = number(), first <= end,
                place + Int(length) + EmbeddingTable.width <= bytes.count,
                let heading = String(validating: bytes[place..<place + Int(length)], as: UTF8.self)
            else { return nil }
            place += Int(length)
            let numbers = bytes[place..<place + EmbeddingTable.width].map { Int8(bitPattern: $0) }
            place += EmbeddingTable.width
            chunks.append(
                Chunk(
                    lines: Int(first)..<Int(end), heading: heading,
                    vector: QuantisedVector(numbers: numbers, scale: Float(bitPattern: scale))))
        }
        return chunks
    }
}
