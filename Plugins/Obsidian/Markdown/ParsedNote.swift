import KnapJSON

/// What a note says to other notes, its properties, links, tags, headings and blocks, and how it is built.
struct ParsedNote: Sendable {
    var frontMatter: FrontMatter?
    var links: [NoteLink] = []
    var tags: [NoteTag] = []
    var headings: [Heading] = []
    /// The outermost blocks, in order and without gaps but for blank lines.
    var sections: [NoteSection] = []
    /// In the order in which they begin, so that an item stands behind the one that it is in.
    var items: [ListItem] = []
    var blocks: [BlockID] = []
    var footnotes: [Footnote] = []
    var footnoteReferences: [Footnote] = []
}

/// One link, as it is written.
struct NoteLink: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case wikilink, embed, markdown, markdownEmbed
        case property(String)
        /// A file node of a canvas.
        case file

        var name: String {
            switch self {
            case .wikilink: "link"
            case .embed: "embed"
            case .markdown: "markdown"
            case .markdownEmbed: "image"
            case .property(let key): "property:\(key)"
            case .file: "canvas"
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

    /// What a reader sees: without a text of its own the path and the headings, as Obsidian shows them.
    var displayText: String {
        display ?? (target + subpath).split(separator: "#").joined(separator: " > ")
    }
}

struct Heading: Sendable, Hashable {
    var level: Int
    var text: String
    /// Its whole lines, in bytes of the note's text.
    var range: Range<Int>
    var line: Int
}

/// One of the blocks that follow each other in a note.
struct NoteSection: Sendable, Hashable {
    /// Named as in Obsidian's cache.
    enum Kind: String, Sendable {
        case yaml, heading, paragraph, list, code, blockquote, callout, comment, html, table, math, thematicBreak
        case definition, footnoteDefinition
    }

    var kind: Kind
    /// Whole lines, in bytes of the note's text.
    var range: Range<Int>
    var line: Int
    /// Its `^id`.
    var id: String?
}

struct ListItem: Sendable, Hashable {
    /// Without the items in it.
    var range: Range<Int>
    var line: Int
    /// Its place among the note's items.
    var parent: Int?
    /// Where the list begins that it is in.
    var listLine: Int
    /// The character in the brackets of a task.
    var task: String?
    /// Its `^id`.
    var id: String?
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
    /// Where the id is.
    var line: Int
    /// What it names: a list item or a section.
    var range: Range<Int>
}

/// `[^id]: text`, or `[^id]` in a text.
struct Footnote: Sendable, Hashable {
    var id: String
    var range: Range<Int>
    var line: Int
}
