import KnapJSON
import Yams

/// Changes one property of a note and leaves every other byte as it is.
enum FrontMatterEditor {
    static func set(_ key: String, to value: JSON, in text: String) throws(VaultError) -> String {
        try check(key)
        let lines = TextLines(text)
        guard let front = try Front(lines) else {
            let entry = YAMLEntry.written(key, value, like: nil)
            return try verified(lines.inserting(["---"] + entry + ["---"], before: 0), [key: value])
        }
        let old = front.entries.first { $0.key == key }
        let entry = YAMLEntry.written(key, value, like: old.map { $0.lines.map { lines.text(line: $0) } })
        let edited =
            old.map { lines.replacing(lines: $0.lines, with: entry) } ?? lines.inserting(entry, before: front.end)
        var wanted = front.properties
        wanted[key] = value
        return try verified(edited, wanted)
    }

    /// Of a property that is not there: an error with the nearest.
    static func remove(_ key: String, in text: String) throws(VaultError) -> String {
        try check(key)
        let lines = TextLines(text)
        let front = try Front(lines)
        let names = front?.properties.names ?? []
        guard let front, let old = front.entries.first(where: { $0.key == key }) else {
            let hint = nearest(to: key, among: names).map { "; did you mean '\($0)'?" } ?? ""
            let known = names.isEmpty ? "it has none" : "it has: \(names.joined(separator: ", "))"
            throw VaultError(.notFound, "there is no such property\(hint) (\(known))")
        }
        var wanted = front.properties
        wanted[key] = nil
        return try verified(lines.replacing(lines: old.lines, with: []), wanted)
    }

    private static func check(_ key: String) throws(VaultError) {
        guard !key.isEmpty, !key.contains(where: \.isNewline) else {
            throw VaultError(.invalidArgument, "property is empty or has a line break")
        }
    }

    /// Whatever the front matter looks like, an edit that changes anything else in it is not made.
    private static func verified(_ text: String, _ wanted: JSONObject) throws(VaultError) -> String {
        let lines = TextLines(text)
        guard let (inner, _) = FrontMatter.bounds(lines), YAML12.read(lines.text(inner)) == wanted else {
            throw VaultError(
                .failedPrecondition,
                "its lines cannot be told from those of others in this front matter; edit them with find or lines")
        }
        return text
    }

    /// What is between the fences, and which lines each property has.
    private struct Front {
        struct Entry {
            var key: String
            var lines: Range<Int>
        }

        var properties: JSONObject
        var entries: [Entry] = []
        /// The line of the second fence.
        var end: Int

        /// Nil where there is none.
        init?(_ lines: TextLines) throws(VaultError) {
            guard let (inner, end) = FrontMatter.bounds(lines) else { return nil }
            let text = lines.text(inner)
            guard let properties = YAML12.read(text) else {
                throw VaultError(.failedPrecondition, "its front matter is not YAML that can be read; repair it first")
            }
            self.properties = properties
            self.end = end
            guard case .mapping(let mapping)? = try? Parser(yaml: text, resolver: .basic).singleRoot() else { return }
            guard mapping.style != .flow else {
                throw VaultError(.failedPrecondition, "its front matter is written as JSON, whose properties have no lines of their own; edit it with find")
            }
            let starts = mapping.map { key, value in (key.scalar?.string ?? "", key.mark?.line ?? 0, value.scalar?.style) }
            for (place, (key, start, style)) in starts.enumerated() {
                let next = place + 1 < starts.count ? starts[place + 1].1 : end
                guard start < next else { continue }
                let own = Self.own(start..<next, lines, isBlock: style == .literal || style == .folded)
                entries.append(Entry(key: key, lines: own))
            }
        }

        /// Without the blank lines and comments before the next property.
        private static func own(_ range: Range<Int>, _ lines: TextLines, isBlock: Bool) -> Range<Int> {
            var end = range.upperBound
            while end - 1 > range.lowerBound {
                let (width, start) = lines.indent(lines.lines[end - 1])
                let isComment = start < lines.lines[end - 1].upperBound && lines.bytes[start] == UInt8(ascii: "#")
                guard lines.isBlank(end - 1) || isComment && (width == 0 || !isBlock) else { break }
                end -= 1
            }
            return range.lowerBound..<end
        }
    }
}
