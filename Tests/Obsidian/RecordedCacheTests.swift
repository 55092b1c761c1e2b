import KnapJSON
import TestSupport
import Testing

@testable import Obsidian

/// What Obsidian itself recorded of 69 notes.
///
/// cmark-gfm 0.29.0.gfm.6 was measured against the same records: of 257 sections 53 are not where it puts them (lists
/// with a blank line behind them, callouts, `%%` comments and what is around those), and of 206 list items 116. With
/// ends moved to the last line that has text and to before nested lists, 10 sections and 56 items remain. So the blocks
/// are our own. What differs:
/// - `inheritance_*`: a nested item begins where the text of the item around it does, and not at its own marker.
/// - `all_link_types`: a blank line between two items belongs to the first.
/// - `inheritance_1parent1child`: an item ends where the items in it begin.
/// - `numbered_list_items_*`: what is in `1. ` is indented by four columns, what is in `1) ` by three.
/// - `callouts_nested_*`, `inheritance_1parent1child1sibling_emptystring`: blanks before a mark belong to its block.
/// - `comments_markdown_style`, `example_kanban`: lines between `%%` are one block, which ends a paragraph.
/// - `zero_width`: a tab counts as what it is indented to, and is never cut in two.
@Suite("Against Obsidian's own caches")
struct RecordedCacheTests {
    private struct Recorded {
        let name: String
        let json: JSON
        var text: String { json["fileContents"]?.stringValue ?? "" }
        var path: String { json["filePath"]?.stringValue ?? "" }
        func texts(_ kind: String) -> [String] { json[kind]?.arrayValue?.compactMap(\.stringValue) ?? [] }
    }

    private func recorded() throws -> [Recorded] {
        let folder = try TestData.vault("obsidian-cache")
        return try TestData.files(in: folder).filter { $0.hasSuffix(".json") }.map {
            Recorded(name: String($0.dropLast(5)), json: try JSON.parse(TestData.read(folder + "/" + $0)))
        }
    }

    @Test(
        "every value of every cache is ours too, and every link leads where Obsidian resolves it",
        .enabled(if: TestData.isThere))
    func agreement() throws {
        let resolver = LinkResolver(paths: try TestData.files(in: try TestData.vault("Tasks-Demo")))
        var comparison = Comparison()
        for note in try recorded() {
            let parsed = NoteParser.parse(note.text)
            comparison.compare(ObsidianCache.of(parsed, note.text), note.json["cachedMetadata"], note.name)
            let front = (parsed.frontMatter?.tags ?? []).map { "#" + $0 }
            comparison.compare(
                .array(front.map { .string($0) }), .array(note.texts("parseFrontMatterTags").map { .string($0) }),
                note.name + ".parseFrontMatterTags")
            let all = parsed.tags.map { "#" + $0.name } + front
            comparison.compare(
                .array(all.sorted().map { .string($0) }), .array(note.texts("getAllTags").sorted().map { .string($0) }),
                note.name + ".getAllTags")
            for (link, path) in note.json["resolveLinkToPath"]?.objectValue?.members ?? [] {
                let found = resolver.resolve(String(link.prefix { $0 != "#" }), from: note.path)
                comparison.compare(found.map { .string($0) } ?? .null, path, "\(note.name): target of \(link)")
            }
        }
        print("\(comparison.values) recorded values, \(comparison.differences.count) disagreements")
        let differences = comparison.differences.joined(separator: "\n")
        #expect(comparison.differences.isEmpty, "\(comparison.differences.count) differ:\n\(differences)")
        #expect(comparison.values > 6700)
    }
}

/// Counts single values and says where two trees of them differ.
private struct Comparison {
    private(set) var values = 0
    private(set) var differences: [String] = []

    mutating func compare(_ ours: JSON?, _ theirs: JSON?, _ place: String) {
        switch (ours, theirs) {
        case (.object(let left)?, .object(let right)?):
            for name in Set(left.names).union(right.names).sorted() {
                compare(left[name], right[name], "\(place).\(name)")
            }
        case (.array(let left)?, .array(let right)?):
            for index in 0..<max(left.count, right.count) {
                compare(
                    index < left.count ? left[index] : nil, index < right.count ? right[index] : nil,
                    "\(place)[\(index)]")
            }
        default:
            values += 1
            if ours != theirs {
                differences.append(
                    "\(place): ours \(ours?.serialized() ?? "none"), recorded \(theirs?.serialized() ?? "none")")
            }
        }
    }
}

/// A note in the form of Obsidian's `CachedMetadata`.
enum ObsidianCache {
    static func of(_ note: ParsedNote, _ text: String) -> JSON {
        let positions = TextPositions(TextLines(text))
        func position(_ range: Range<Int>) -> JSON {
            ["start": point(range.lowerBound), "end": point(range.upperBound)]
        }
        func point(_ place: Int) -> JSON {
            let point = positions[place]
            return ["line": number(point.line), "col": number(point.column), "offset": number(point.offset)]
        }
        func link(_ link: NoteLink) -> JSONObject {
            [
                "link": .string(link.target + link.subpath), "original": .string(link.original),
                "displayText": .string(link.displayText),
            ]
        }
        func number(_ value: Int) -> JSON { .number(JSONNumber(value)) }
        func placed(_ range: Range<Int>, _ members: JSONObject) -> JSON {
            var members = members
            members["position"] = position(range)
            return .object(members)
        }
        var cache = JSONObject()
        func put(_ name: String, _ elements: [JSON]) { if !elements.isEmpty { cache[name] = .array(elements) } }

        let embeds = note.links.filter { $0.kind == .embed || $0.kind == .markdownEmbed }
        let links = note.links.filter { $0.kind == .wikilink || $0.kind == .markdown }
        put("links", links.map { placed($0.range, link($0)) })
        put("embeds", embeds.map { placed($0.range, link($0)) })
        put("tags", note.tags.map { placed($0.range, ["tag": .string("#" + $0.name)]) })
        put(
            "headings",
            note.headings.map { placed($0.range, ["heading": .string($0.text), "level": number($0.level)]) })
        put(
            "sections",
            note.sections.map { section in
                var members: JSONObject = ["type": .string(section.kind.rawValue)]
                if let id = section.id { members["id"] = .string(id) }
                return placed(section.range, members)
            })
        put(
            "listItems",
            note.items.map { item in
                // The line of the item around it, or what is less than 0 for the list: -1 also of a list in line 0.
                var members: JSONObject = [
                    "parent": number(item.parent.map { note.items[$0].line } ?? -max(1, item.listLine))
                ]
                if let task = item.task { members["task"] = .string(task) }
                if let id = item.id { members["id"] = .string(id) }
                return placed(item.range, members)
            })
        put("footnotes", note.footnotes.map { placed($0.range, ["id": .string($0.id)]) })
        put("footnoteRefs", note.footnoteReferences.map { placed($0.range, ["id": .string($0.id)]) })
        if !note.blocks.isEmpty {
            var blocks = JSONObject()
            for block in note.blocks { blocks[block.id.lowercased()] = placed(block.range, ["id": .string(block.id)]) }
            cache["blocks"] = .object(blocks)
        }
        if let front = note.frontMatter {
            cache["frontmatter"] = .object(front.properties)
            cache["frontmatterPosition"] = note.sections.first.map { position($0.range) }
            cache["frontmatterLinks"] = .array(
                front.links.map { found in
                    var members = link(found)
                    if case .property(let key) = found.kind { members["key"] = .string(key) }
                    return .object(members)
                })
        }
        return .object(cache)
    }
}
