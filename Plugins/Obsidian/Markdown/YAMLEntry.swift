import KnapJSON

/// A property as it is written: in the way in which it was written before, as far as that goes.
enum YAMLEntry {
    /// - Parameter old: The lines that it had.
    static func written(_ key: String, _ value: JSON, like old: [String]?) -> [String] {
        let name = old?.first.flatMap(spelling) ?? plain(key)
        let line = old?.first.map { String($0.dropFirst(name.count + 1)) } ?? ""
        switch value {
        case .array(let elements) where !elements.isEmpty:
            if line.trimmed.hasPrefix("[") {
                return ["\(name): [" + elements.map(flow).joined(separator: ", ") + "]" + comment(behind: line)]
            }
            let first = old?.dropFirst().first { $0.trimmed.hasPrefix("-") }
            let indent = first.map { String($0.prefix { $0 == " " }) } ?? "  "
            return ["\(name):\(comment(behind: line))"] + elements.map { "\(indent)- \(scalar($0))" }
        default:
            let text = quoted(value, like: line.trimmed)
            return ["\(name):" + (text.isEmpty ? "" : " " + text) + (old?.count == 1 ? comment(behind: line) : "")]
        }
    }

    /// The key as it stands, with its quotes.
    private static func spelling(_ line: String) -> String? {
        guard let quote = line.first, quote == "\"" || quote == "'" else {
            return line.firstIndex(of: ":").map { String(line[..<$0]) }
        }
        guard let close = closing(quote, in: line.dropFirst()) else { return nil }
        let name = line[...close]
        return line[line.index(after: close)...].hasPrefix(":") ? String(name) : nil
    }

    /// Where a quoted text ends.
    private static func closing(_ quote: Character, in text: Substring) -> String.Index? {
        var place = text.startIndex
        while place < text.endIndex {
            let next = text.index(after: place)
            if text[place] == "\\", quote == "\"", next < text.endIndex {
                place = text.index(after: next)
                continue
            }
            if text[place] == quote {
                guard quote == "'", next < text.endIndex, text[next] == "'" else { return place }
                place = text.index(after: next)
                continue
            }
            place = next
        }
        return nil
    }

    /// What stands behind a value on its line, with the blanks before it; empty where that is no comment.
    private static func comment(behind line: String) -> String {
        let text = line.drop(while: \.isWhitespace)
        var rest = line[...]
        if let quote = text.first, quote == "\"" || quote == "'" {
            guard let close = closing(quote, in: text.dropFirst()) else { return "" }
            rest = text[text.index(after: close)...]
        } else if text.first == "[" {
            guard let close = text.lastIndex(of: "]") else { return "" }
            rest = text[text.index(after: close)...]
        }
        guard let hash = rest.indices.first(where: { rest[$0] == "#" && ($0 == rest.startIndex ? rest.startIndex == line.startIndex : rest[rest.index(before: $0)].isWhitespace) })
        else { return "" }
        let before = rest[..<hash].reversed().prefix { $0.isWhitespace }.count
        return String(rest[rest.index(hash, offsetBy: -before)...])
    }

    private static func quoted(_ value: JSON, like old: Substring) -> String {
        guard case .string(let text) = value else { return scalar(value) }
        if old.first == "\"" { return JSON.string(text).serialized() }
        if old.first == "'", !text.contains(where: \.isNewline) { return "'" + text.replacing("'", with: "''") + "'" }
        return plain(text)
    }

    private static func flow(_ value: JSON) -> String {
        guard case .string(let text) = value else { return value == .null ? "null" : value.serialized() }
        let plain = plain(text)
        return plain.contains(where: { ",[]{}".contains($0) }) ? JSON.string(text).serialized() : plain
    }

    /// JSON is YAML, so what is not a simple text is written as JSON.
    private static func scalar(_ value: JSON) -> String {
        if case .string(let text) = value { return plain(text) }
        return value == .null ? "" : value.serialized()
    }

    /// Text without quotes where YAML reads it back the same.
    private static func plain(_ text: String) -> String {
        let isSafe =
            !text.isEmpty && text.trimmed == text[...] && !text.contains(where: \.isNewline)
            && text.first.map { !"-?:,[]{}#&*!|>'\"%@`=~".contains($0) } == true
            && !text.contains(": ") && !text.contains(" #") && !text.hasSuffix(":")
        if isSafe, YAML12.read("k: " + text)?["k"] == .string(text) { return text }
        return JSON.string(text).serialized()
    }
}
