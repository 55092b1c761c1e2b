import KnapPlugin

/// The headings of a note, what they are under, and the lines of their sections.
struct NoteOutline {
    struct Entry {
        /// Which of the note's headings it is.
        var place: Int
        var heading: Heading
        /// The texts of the headings that it is under, the outermost first, and its own.
        var path: [String]
        /// Its own lines: two where it is underlined.
        var lines: Range<Int>
        /// With its own lines, to the next heading of its level or above.
        var section: Range<Int>
        /// In a quote, a list or a footnote: it divides that, and not the note.
        var isNested: Bool

        var title: String { path[path.count - 1] }
        /// How to ask for it.
        var link: String { path.map { HeadingText.linked($0) }.joined(separator: "#") }
        var marked: String { String(repeating: "#", count: heading.level) + " " + heading.text }
    }

    private(set) var entries: [Entry] = []

    init(_ text: TextLines, _ note: ParsedNote) {
        let outermost = Set(note.sections.lazy.filter { $0.kind == .heading }.map(\.range.lowerBound))
        var open: [Int] = []
        for heading in note.headings {
            let isNested = !outermost.contains(heading.range.lowerBound)
            if !isNested { close(&open, from: heading.level, at: heading.line) }
            let above = open.last.map { entries[$0].path } ?? []
            let end = isNested ? Self.end(of: heading, text, note) : text.ownCount
            entries.append(
                Entry(
                    place: entries.count, heading: heading, path: above + [HeadingText.title(of: heading)], lines: text.lines(touching: heading.range),
                    section: heading.line..<end, isNested: isNested))
            if !isNested { open.append(entries.count - 1) }
        }
    }

    private mutating func close(_ open: inout [Int], from level: Int, at line: Int) {
        while let last = open.last, entries[last].heading.level >= level {
            entries[last].section = entries[last].section.lowerBound..<line
            open.removeLast()
        }
    }

    /// Where the section of a nested heading ends: with what it is in, at the latest.
    private static func end(of heading: Heading, _ text: TextLines, _ note: ParsedNote) -> Int {
        let outside = note.sections.last { $0.range.lowerBound <= heading.range.lowerBound }
        let end = outside.map { text.lines(touching: $0.range).upperBound } ?? text.ownCount
        let next = note.headings.first { $0.line > heading.line && $0.level <= heading.level }
        return min(end, next?.line ?? end)
    }

    // MARK: Finding

    /// The one heading that an argument means: its text, where that is unique, also with its marks (`## Plan`); or what
    /// it is under and its text, as links write them (`Garden#Plan`).
    func find(_ wanted: String, path: VaultPath) throws(VaultError) -> Entry {
        let (level, text) = Self.unmarked(wanted)
        let parts = text.split(separator: "#").map { HeadingText.compared($0) }.filter { !$0.isEmpty }
        guard let last = parts.last else {
            throw VaultError(.invalidArgument, "heading '\(wanted)' has no text; give a heading's text, or a path of headings such as A#B")
        }
        let candidates = entries.filter { level == nil || $0.heading.level == level }
        // A heading may have the mark in its text: C# is neither C nor what C is under.
        let asIs = candidates.filter { entry in
            entry.title.contains("#") && folded(HeadingText.collapsed(entry.title)) == folded(HeadingText.collapsed(text))
        }
        if asIs.count == 1 { return asIs[0] }
        let found = candidates.filter { entry in
            HeadingText.compared(entry.title) == last && Self.isUnder(entry.path.dropLast(), parts.dropLast())
        }
        if found.count > 1, parts.count > 1 {
            let whole = found.filter { $0.path.map { HeadingText.compared($0) } == parts }
            if whole.count == 1 { return whole[0] }
        }
        guard let first = found.first else { throw missing(wanted, text, path) }
        guard found.count == 1 else { throw ambiguous(wanted, found, path) }
        return first
    }

    /// `## Plan` as it stands in the note, `#Plan` as in a link.
    private static func unmarked(_ wanted: String) -> (level: Int?, text: String) {
        let text = wanted.trimmed
        let marks = text.prefix { $0 == "#" }.count
        let rest = text.dropFirst(marks)
        let isMarked = (1...6).contains(marks) && rest.first?.isWhitespace == true
        return (isMarked ? marks : nil, isMarked ? BlockStart.title(String(rest)) : String(text.dropFirst(min(marks, 1))))
    }

    /// Whether all the wanted ones are among those above, in their order.
    private static func isUnder(_ above: some Sequence<String>, _ wanted: ArraySlice<String>) -> Bool {
        var rest = wanted
        for text in above where HeadingText.compared(text) == rest.first { rest = rest.dropFirst() }
        return rest.isEmpty
    }

    private func missing(_ wanted: String, _ text: String, _ path: VaultPath) -> VaultError {
        guard !entries.isEmpty else { return VaultError(.notFound, "'\(path)' has no heading '\(wanted)'; it has none at all") }
        // As others write such paths.
        let other = ["::", ">", "/"].lazy
            .map { text.replacing($0, with: "#").split(separator: "#").map { HeadingText.linked($0) }.joined(separator: "#") }
            .first { guess in entries.contains { folded($0.link) == folded(guess) } }
        let near = other ?? nearest(to: text, among: entries.flatMap { [$0.heading.text, $0.link, $0.marked] })
        let hint = near.map { "; did you mean '\($0)'?" } ?? ""
        let shown = entries.prefix(20).map(\.link).joined(separator: ", ") + (entries.count > 20 ? ", …" : "")
        return VaultError(
            .notFound, "'\(path)' has no heading '\(wanted)'\(hint) (it has: \(shown))",
            details: near.map { ["nearest": .string($0)] })
    }

    private func ambiguous(_ wanted: String, _ found: [Entry], _ path: VaultPath) -> VaultError {
        let shown = found.prefix(20).map { "'\($0.link)' (\($0.marked), line \($0.heading.line + 1))" }.joined(separator: ", ")
        let candidates = found.prefix(20).map { entry -> JSON in
            ["heading": .string(entry.link), "level": .number(JSONNumber(entry.heading.level)), "line": .number(JSONNumber(entry.heading.line + 1))]
        }
        return VaultError(
            .failedPrecondition,
            "'\(path)' has \(found.count) headings '\(wanted)': \(shown); give the headings that yours is under, its marks, or its lines",
            details: ["candidates": .array(candidates)])
    }
}
