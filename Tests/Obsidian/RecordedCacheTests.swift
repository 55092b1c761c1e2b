import KnapJSON
import TestSupport
import Testing

@testable import Obsidian

/// What Obsidian itself recorded of 69 notes.
@Suite("Against Obsidian's own caches")
struct RecordedCacheTests {
    private struct Recorded {
        let name: String
        let json: JSON
        var text: String { json["fileContents"]?.stringValue ?? "" }
        func list(_ kind: String) -> [JSON] { json["cachedMetadata"]?[kind]?.arrayValue ?? [] }
        func texts(_ kind: String, _ member: String) -> [String] { list(kind).compactMap { $0[member]?.stringValue } }
    }

    private func recorded() throws -> [Recorded] {
        let folder = try TestData.vault("obsidian-cache")
        return try TestData.files(in: folder).filter { $0.hasSuffix(".json") }.map {
            Recorded(name: String($0.dropLast(5)), json: try JSON.parse(TestData.read(folder + "/" + $0)))
        }
    }

    @Test("links, embeds, tags, headings, property links and their targets are the recorded ones", .enabled(if: TestData.isThere))
    func agreement() throws {
        let files = try TestData.files(in: try TestData.vault("Tasks-Demo"))
        let resolver = LinkResolver(paths: files)
        var differences: [String] = []
        var compared = 0
        func compare(_ name: String, _ what: String, _ ours: [String], _ theirs: [String]) {
            compared += 1
            if ours != theirs { differences.append("\(name): \(what): ours \(ours), recorded \(theirs)") }
        }
        for note in try recorded() {
            let parsed = NoteParser.parse(note.text)
            let embeds = parsed.links.filter { $0.kind == .embed || $0.kind == .markdownEmbed }
            let links = parsed.links.filter { $0.kind == .wikilink || $0.kind == .markdown }
            compare(note.name, "links", links.map(\.original), note.texts("links", "original"))
            compare(note.name, "embeds", embeds.map(\.original), note.texts("embeds", "original"))
            compare(note.name, "lines", links.map { "\($0.line)" }, note.list("links").compactMap { $0["position"]?["start"]?["line"]?.numberValue?.text })
            compare(note.name, "tags", parsed.tags.map { "#" + $0.name }, note.texts("tags", "tag"))
            compare(note.name, "headings", parsed.headings.map { "\($0.level) \($0.text)" }, note.list("headings").map { "\($0["level"]?.intValue ?? 0) \($0["heading"]?.stringValue ?? "")" })
            let front = parsed.frontMatter
            compare(note.name, "property links", (front?.links ?? []).map(\.original), note.texts("frontmatterLinks", "original"))
            let properties = (note.json["cachedMetadata"]?["frontmatter"]?.objectValue?.names ?? []).filter { $0 != "position" }
            // Recorded in the order of their names.
            compare(note.name, "properties", (front?.properties.names ?? []).sorted(), properties.sorted())
            compare(note.name, "property tags", (front?.tags ?? []).map { "#" + $0 }, (note.json["parseFrontMatterTags"]?.arrayValue ?? []).compactMap(\.stringValue))
            for (link, path) in note.json["resolveLinkToPath"]?.objectValue?.members ?? [] {
                let target = String(link.prefix { $0 != "#" })
                let ours = resolver.resolve(target, from: note.json["filePath"]?.stringValue ?? "")
                compare(note.name, "target of \(link)", [ours ?? "none"], [path.stringValue ?? "none"])
            }
        }
        #expect(differences.isEmpty, "\(differences.count) of \(compared) differ:\n\(differences.joined(separator: "\n"))")
        #expect(compared > 500)
    }
}
