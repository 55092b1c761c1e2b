import KnapJSON
import Yams

/// The properties at the top of a note.
struct FrontMatter: Sendable {
    /// In the order they are written. Dates stay text: what they mean is the vault's business.
    var properties: JSONObject
    /// From the first `---` to behind the line of the last, in bytes of the note's text.
    var range: Range<Int>
    /// The first line behind it.
    var endLine: Int
    var links: [NoteLink]

    /// `tags`: a list, or one text that is one tag. A leading `#` is dropped, numbers are no tags.
    var tags: [String] {
        texts("tags").map { String($0.drop { $0 == "#" }.trimmed) }.filter { !$0.isEmpty && !$0.contains(where: \.isWhitespace) && !$0.contains(",") }
    }

    var aliases: [String] { texts("aliases") }

    private func texts(_ key: String) -> [String] {
        switch properties[key] {
        case .string(let text)?: [text]
        case .array(let elements)?: elements.compactMap(\.stringValue)
        default: []
        }
    }

    /// Nil when there is none, or when it cannot be read.
    static func read(_ lines: TextLines) -> FrontMatter? {
        guard let (inner, end) = bounds(lines), let properties = YAML12.read(lines.text(inner)) else { return nil }
        let range = 0..<(end + 1 < lines.lines.count ? lines.lines[end + 1].lowerBound : lines.bytes.count)
        return FrontMatter(properties: properties, range: range, endLine: end + 1, links: links(properties, lines, end))
    }

    /// What is between the fences, in bytes, and the line of the second.
    static func bounds(_ lines: TextLines) -> (inner: Range<Int>, end: Int)? {
        guard isFence(lines, 0, skippingMark: true) else { return nil }
        for line in lines.lines.indices.dropFirst() where isFence(lines, line, skippingMark: false) {
            let start = lines.lines[1].lowerBound
            return (start..<max(start, lines.lines[line].lowerBound), line)
        }
        return nil
    }

    private static func isFence(_ lines: TextLines, _ line: Int, skippingMark: Bool) -> Bool {
        var text = lines.text(line: line)[...]
        if skippingMark, text.unicodeScalars.first == "\u{FEFF}" { text = text.dropFirst() }
        return text.hasPrefix("---") && text.dropFirst(3).allSatisfy(\.isWhitespace)
    }

    /// A property, or an element of one, whose whole text is one wikilink.
    private static func links(_ properties: JSONObject, _ lines: TextLines, _ end: Int) -> [NoteLink] {
        var links: [NoteLink] = []
        func visit(_ value: JSON, _ key: String) {
            switch value {
            case .string(let text):
                guard text.hasPrefix("[["), text.hasSuffix("]]"), text.count > 4 else { return }
                let content = String(text.dropFirst(2).dropLast(2))
                guard !content.contains("[["), !content.contains("]]"), let parts = LinkText.split(content) else { return }
                let line = (0..<end).first { lines.text(line: $0).contains(text) } ?? 0
                links.append(
                    NoteLink(
                        kind: .property(key), target: parts.target, subpath: parts.subpath, display: parts.display,
                        original: text, range: 0..<0, line: line))
            case .array(let elements): for (index, element) in elements.enumerated() { visit(element, "\(key).\(index)") }
            case .object(let object): for (name, element) in object.members { visit(element, "\(key).\(name)") }
            default: return
            }
        }
        for (name, value) in properties.members { visit(value, name) }
        return links
    }
}

/// YAML by the core rules of version 1.2 (§10.3.2), in which `yes` and `on` are text.
enum YAML12 {
    /// Nil when the text is not YAML or not a mapping.
    static func read(_ text: String) -> JSONObject? {
        // Aliases can make a small text a huge value; nobody writes them in notes.
        guard !text.isEmpty, text.utf8.count < 1 << 20 else { return text.isEmpty ? JSONObject() : nil }
        guard let node = try? Parser(yaml: text, resolver: .basic, encoding: .utf8).singleRoot() else {
            return text.allSatisfy(\.isWhitespace) ? JSONObject() : nil
        }
        var budget = 100_000
        guard case .object(let object)? = value(node, depth: 0, &budget) else { return nil }
        return object
    }

    private static func value(_ node: Node, depth: Int, _ budget: inout Int) -> JSON? {
        budget -= 1
        guard depth < 64, budget > 0 else { return nil }
        switch node {
        case .scalar(let scalar): return Self.scalar(scalar)
        case .sequence(let sequence):
            var elements: [JSON] = []
            for element in sequence {
                guard let element = value(element, depth: depth + 1, &budget) else { return nil }
                elements.append(element)
            }
            return .array(elements)
        case .mapping(let mapping):
            var object = JSONObject()
            for (key, element) in mapping {
                guard let name = key.scalar?.string, let element = value(element, depth: depth + 1, &budget) else { return nil }
                object[name] = element
            }
            return .object(object)
        case .alias: return nil
        }
    }

    private static func scalar(_ scalar: Node.Scalar) -> JSON {
        guard scalar.style == .plain else { return .string(scalar.string) }
        switch scalar.string {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        // Numbers as JSON writes them are numbers; all else (dates, versions, 0123) is text.
        if let first = scalar.string.first, first.isNumber || first == "-", let number = try? JSON.parse(scalar.string), case .number = number {
            return number
        }
        return .string(scalar.string)
    }
}
