import KnapJSON

/// What a note says to other notes: its properties, links, tags, headings and blocks.
struct ParsedNote: Sendable {
    var frontMatter: FrontMatter?
    var links: [NoteLink] = []
    var tags: [NoteTag] = []
    var headings: [Heading] = []
    var blocks: [BlockID] = []
}

/// One link, as it is written.
struct NoteLink: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case wikilink, embed, markdown, markdownEmbed
        case property(String)

        var name: String {
            switch self {
            case .wikilink: "link"
            case .embed: "embed"
            case .markdown: "markdown"
            case .markdownEmbed: "image"
            case .property(let key): "property:\(key)"
            }
        }
    }

    var kind: Kind
    /// The path part, trimmed and decoded; empty for a link within the note.
    var target: String
    /// `#Heading` or `#^block`, with the `#`; empty for none.
    var subpath: String
    var display: String?
    var original: String
    /// In bytes of the note's text.
    var range: Range<Int>
    /// From 0.
    var line: Int
}

struct Heading: Sendable, Hashable {
    var level: Int
    var text: String
    /// The whole line, in bytes of the note's text.
    var range: Range<Int>
    var line: Int
}

struct NoteTag: Sendable, Hashable {
    /// Without `#`.
    var name: String
    var range: Range<Int>
    var line: Int
}

/// A block that links can name: `^id`.
struct BlockID: Sendable, Hashable {
    var id: String
    var line: Int
}
