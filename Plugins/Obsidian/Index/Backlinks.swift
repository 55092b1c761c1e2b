import GRDB

/// Links as questions to the index.
extension NoteIndex {
    struct StoredLink: Sendable {
        var source: String
        var line: Int
        var kind: String
        var target: String
        var subpath: String
        var display: String?
    }

    /// Links that could lead to a file, by the last part of their target; where each leads is the resolver's business.
    func links(withKey key: String) throws -> [StoredLink] {
        try links(where: "link.key = ?", [key])
    }

    func links(from path: String) throws -> [StoredLink] { try links(where: "file.path = ?", [path]) }

    func links() throws -> [StoredLink] { try links(where: "1", []) }

    private func links(where condition: String, _ arguments: StatementArguments) throws -> [StoredLink] {
        try read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT file.path, line, kind, target, subpath, display FROM link JOIN file ON file.id = link.note
                    WHERE \(condition) ORDER BY file.path, line
                    """, arguments: arguments
            ).map {
                StoredLink(source: $0[0], line: $0[1], kind: $0[2], target: $0[3], subpath: $0[4], display: $0[5])
            }
        }
    }
}

extension Vault {
    struct Backlink: Codable, Sendable {
        var path: String
        var line: Int
    }

    /// Where links to a file are.
    func backlinks(to path: String) throws -> [Backlink] {
        let resolver = resolver
        return try index.links(withKey: NoteIndex.key(ofTarget: path)).compactMap { link in
            resolver.resolve(link.target, from: link.source) == path ? Backlink(path: link.source, line: link.line + 1) : nil
        }
    }
}
