import KnapJSON

/// Changes one property of a note and leaves every other byte as it is.
enum FrontMatterEditor {
    static func set(_ key: String, to value: JSON, in text: String) throws(VaultError) -> String {
        try check(key)
        let lines = TextLines(text)
        let entry = yaml(key, value)
        guard let (inner, end) = FrontMatter.bounds(lines) else { return "---\n\(entry)---\n" + text }
        guard YAML12.read(lines.text(inner)) != nil else { throw unreadable() }
        if let old = Self.lines(of: key, lines, end) {
            return splice(lines, lines.lines[old.lowerBound].lowerBound..<lines.lines[old.upperBound].lowerBound, entry)
        }
        return splice(lines, lines.lines[end].lowerBound..<lines.lines[end].lowerBound, entry)
    }

    static func remove(_ key: String, in text: String) throws(VaultError) -> String {
        try check(key)
        let lines = TextLines(text)
        guard let (inner, end) = FrontMatter.bounds(lines) else { return text }
        guard YAML12.read(lines.text(inner)) != nil else { throw unreadable() }
        guard let old = Self.lines(of: key, lines, end) else { return text }
        return splice(lines, lines.lines[old.lowerBound].lowerBound..<lines.lines[old.upperBound].lowerBound, "")
    }

    private static func unreadable() -> VaultError {
        VaultError(.failedPrecondition, "its front matter is not YAML that can be read; repair it first")
    }

    private static func check(_ key: String) throws(VaultError) {
        guard !key.isEmpty, !key.contains(where: \.isNewline) else {
            throw VaultError(.invalidArgument, "property is empty or has a line break")
        }
    }

    /// The lines of a top-level key and of what belongs to it, up to the next key.
    private static func lines(of key: String, _ lines: TextLines, _ end: Int) -> Range<Int>? {
        var start: Int?
        for line in 1..<end {
            let text = lines.text(line: line)
            let isTopLevel = text.first.map { !$0.isWhitespace && $0 != "#" && $0 != "-" } ?? false
            guard isTopLevel else { continue }
            if let start { return start..<line }
            if name(text) == key { start = line }
        }
        return start.map { $0..<end }
    }

    private static func name(_ line: String) -> String? {
        guard let object = YAML12.read(line.hasSuffix(":") || line.contains(": ") ? String(line.prefix { $0 != "\n" }) : line + ": x")
        else { return line.firstIndex(of: ":").map { String(line[..<$0]) } }
        return object.names.first
    }

    private static func splice(_ lines: TextLines, _ range: Range<Int>, _ text: String) -> String {
        String(decoding: lines.bytes[..<range.lowerBound], as: UTF8.self) + text
            + String(decoding: lines.bytes[range.upperBound...], as: UTF8.self)
    }

    // MARK: Writing YAML

    private static func yaml(_ key: String, _ value: JSON) -> String {
        let name = plain(key)
        switch value {
        case .array(let elements) where !elements.isEmpty:
            return "\(name):\n" + elements.map { "  - \(scalar($0))\n" }.joined()
        default: return "\(name): \(scalar(value))\n"
        }
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
