import KnapJSON

/// What the index keeps of one note, or of a canvas, which has links only.
///
/// All that can be worked out without the database is, when it is made: many are made at once, and one writes them.
struct IndexedNote: Sendable {
    let path: String
    let version: String
    let stamp: VaultFiles.Stamp
    let text: String
    let parsed: ParsedNote
    let title: String, folder: String
    let isNote: Bool
    let foldedPath: String, foldedName: String
    /// A JSON object.
    let properties: String
    let aliases: String, headings: String
    let tags: [(name: String, folded: String)]
    let links: [(link: NoteLink, key: String)]
    /// Where they were looked for ahead.
    var words: WordSet?

    init(path: String, version: String, stamp: VaultFiles.Stamp, text: String, parsed: ParsedNote) {
        self.path = path
        self.version = version
        self.stamp = stamp
        self.text = text
        self.parsed = parsed
        let place = VaultPath(trusted: path)
        title = place.title
        folder = place.folder
        isNote = place.isNote
        foldedPath = Folding.text(path)
        foldedName = Folding.text(place.name)
        let front = parsed.frontMatter
        properties = JSON.object(front?.properties ?? JSONObject()).serialized()
        aliases = (front?.aliases ?? []).joined(separator: "\n")
        headings = parsed.headings.map(\.text).joined(separator: "\n")
        tags = (parsed.tags.map(\.name) + (front?.tags ?? [])).map { ($0, Obsidian.folded($0)) }
        links = (parsed.links + (front?.links ?? [])).map { ($0, NoteIndex.key(ofTarget: $0.target)) }
    }
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
