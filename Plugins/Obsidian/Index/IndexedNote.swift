import KnapJSON

/// What the index keeps of one note, or of a canvas, which has links only.
struct IndexedNote: Sendable {
    var path: String
    var version: String
    var stamp: VaultFiles.Stamp
    var text: String
    var parsed: ParsedNote
    /// Where they were looked for ahead.
    var words: WordSet?

    var title: String { VaultPath(trusted: path).title }
}

/// One note as a result of a query, without its text.
struct NoteSummary: Codable, Sendable {
    var path: String
    var title: String
    /// Seconds since 1970.
    var modified: Double
    var size: Int64
}

/// Case and composition never matter in Obsidian.
func folded(_ text: String) -> String { text.lowercased() }
