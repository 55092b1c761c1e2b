import KnapPlugin

/// The part of a note under a heading.
struct Section {
    /// From the heading's line to the next heading of its level or above.
    let whole: Substring
    /// Without the heading's own line.
    let body: Substring

    static func find(_ heading: String, in text: String, path: VaultPath) throws(VaultError) -> Section {
        let headings = NoteParser.parse(text).headings
        let wanted = normalized(heading.drop { $0 == "#" || $0 == " " })
        guard let place = headings.firstIndex(where: { normalized($0.text[...]) == wanted }) else {
            let names = headings.map(\.text)
            let hint = nearest(to: String(wanted), among: names).map { "; did you mean '\($0)'?" } ?? ""
            let known = names.isEmpty ? "it has none" : "it has: " + names.prefix(20).joined(separator: ", ")
            throw VaultError(.notFound, "'\(path)' has no heading '\(heading)'\(hint) (\(known))")
        }
        let end = headings[(place + 1)...].first { $0.level <= headings[place].level }
        let utf8 = text.utf8
        let start = utf8.index(utf8.startIndex, offsetBy: headings[place].range.lowerBound)
        let after = utf8.index(utf8.startIndex, offsetBy: headings[place].range.upperBound)
        let stop = end.map { utf8.index(utf8.startIndex, offsetBy: $0.range.lowerBound) } ?? text.endIndex
        let firstLineEnd = text[after..<stop].firstIndex(of: "\n").map { text.index(after: $0) } ?? stop
        return Section(whole: text[start..<stop], body: text[firstLineEnd..<stop])
    }

    /// Case and repeated blanks do not matter.
    private static func normalized(_ text: Substring) -> String {
        text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}
