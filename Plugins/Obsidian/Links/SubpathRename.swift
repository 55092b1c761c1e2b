/// A new name for a heading or a block of a note, in the note and in the links to it.
struct SubpathRename {
    /// The note with the new name.
    let text: String
    private let kind: Kind

    private enum Kind {
        case heading(Int, old: HeadingPaths, new: HeadingPaths)
        case block(old: String, new: String)
    }

    /// - Parameters:
    ///   - name: A heading, a chain of nested ones with `#` between them, or `^id`.
    ///   - links: Has the links of the note's text lead to what they are then to lead to.
    init(
        _ name: String, to wanted: String, in text: String, path: VaultPath,
        links: (String, SubpathRename) throws(VaultError) -> String
    ) throws(VaultError) {
        let kind = name.hasPrefix("^") || name.hasPrefix("#^")
            ? try Self.block(name, wanted, text, path) : try Self.heading(name, wanted, text, path)
        let edited = try links(text, SubpathRename(text: text, kind: kind))
        self.init(text: try Self.named(kind, wanted, in: edited, path), kind: kind)
    }

    private init(text: String, kind: Kind) { (self.text, self.kind) = (text, kind) }

    // MARK: What is meant

    private static func heading(
        _ name: String, _ wanted: String, _ text: String, _ path: VaultPath
    ) throws(VaultError) -> Kind {
        let note = NoteParser.parse(text)
        let old = HeadingPaths(note.headings)
        let place = try NoteOutline(TextLines(text), note).find(name, path: path).place
        guard !wanted.contains(where: \.isNewline), !HeadingText.linked(wanted).isEmpty, wanted.trimmed == wanted[...] else {
            throw VaultError(
                .invalidArgument, "to '\(wanted)' is no heading's text: give one line without # before it and blanks around it")
        }
        let new = HeadingPaths(
            old.headings.enumerated().map { number, heading in
                var heading = heading
                if number == place { heading.text = wanted }
                return heading
            })
        return .heading(place, old: old, new: new)
    }

    private static func block(
        _ name: String, _ wanted: String, _ text: String, _ path: VaultPath
    ) throws(VaultError) -> Kind {
        let old = String(name.drop { $0 == "#" || $0 == "^" })
        let new = String(wanted.drop { $0 == "#" || $0 == "^" })
        let ids = NoteParser.parse(text).blocks.map(\.id)
        let count = ids.count { folded($0) == folded(old) }
        guard count == 1 else {
            let hint = nearest(to: old, among: ids).map { "; did you mean '^\($0)'?" } ?? ""
            throw VaultError(
                count == 0 ? .notFound : .failedPrecondition,
                count == 0 ? "'\(path)' has no block '^\(old)'\(hint)" : "'\(path)' has \(count) blocks '^\(old)'; edit it first")
        }
        guard !new.isEmpty, new.utf8.allSatisfy({ $0 == 0x2D || (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) }) else {
            throw VaultError(.invalidArgument, "to '\(wanted)' is no block's id: give letters, digits and - only")
        }
        guard folded(new) == folded(old) || !ids.contains(where: { folded($0) == folded(new) }) else {
            throw VaultError(.alreadyExists, "'\(path)' already has a block '^\(new)'; choose another id")
        }
        return .block(old: old, new: new)
    }

    // MARK: In the note

    private static func named(_ kind: Kind, _ wanted: String, in text: String, _ path: VaultPath) throws(VaultError) -> String {
        let lines = TextLines(text)
        let note = NoteParser.parse(text)
        func replaced(_ part: String, inLine line: Int, with other: String) -> String? {
            let shown = lines.text(line: line)
            guard !part.isEmpty, let place = shown.ranges(of: part).last else { return nil }
            let start = lines.lines[line].lowerBound + shown.utf8.distance(from: shown.startIndex, to: place.lowerBound)
            return TextEdit.apply([TextEdit(range: start..<(start + part.utf8.count), text: other)], to: text)
        }
        switch kind {
        case .block(let old, let new):
            let block = note.blocks.first { folded($0.id) == folded(old) }
            if let block, let edited = replaced("^" + block.id, inLine: block.line, with: "^" + new) { return edited }
        case .heading(let place, let old, _):
            guard note.headings.count == old.headings.count else { break }
            let heading = note.headings[place]
            guard let edited = replaced(HeadingText.title(of: heading), inLine: heading.line, with: wanted) else { break }
            // What is a heading's text in one place may be a list in another, or end it.
            let now = NoteParser.parse(edited).headings
            guard now.count == note.headings.count, HeadingText.title(of: now[place]).utf8.elementsEqual(wanted.utf8) else { break }
            return edited
        }
        throw VaultError(.invalidArgument, "to '\(wanted)' would not be a heading in '\(path)' any more; choose another text")
    }

    // MARK: In links

    /// What a link's subpath has to become; nil where it leads where it is to lead.
    func subpath(_ subpath: String, of link: NoteLink, in source: String) throws(VaultError) -> String? {
        let parts = HeadingPaths.parts(of: subpath)
        switch kind {
        case .block(let old, let new):
            guard parts.count == 1, parts[0].hasPrefix("^"), folded(String(parts[0].dropFirst().trimmed)) == folded(old) else { return nil }
            return "#^" + new == subpath ? nil : "#^" + new
        case .heading(let place, let old, let new):
            guard parts.first?.hasPrefix("^") == false, let chain = old.resolve(parts), let target = chain.last else { return nil }
            func leads(_ parts: [String]) -> Bool { new.resolve(parts)?.last == target }
            let name = HeadingText.linked(new.headings[place].text)
            let renamed = zip(parts, chain).map { $1 == place ? name : $0 }
            if leads(renamed) { return renamed == parts ? nil : "#" + renamed.joined(separator: "#") }
            // Another one is in its way: those above tell them apart.
            let whole = new.chain(to: target)
            for count in 1...whole.count where leads(whole.suffix(count)) { return "#" + whole.suffix(count).joined(separator: "#") }
            throw VaultError(
                .failedPrecondition,
                "the link \(link.original) in line \(link.line + 1) of '\(source)' could not tell the heading "
                    + "'\(whole.joined(separator: "#"))' from another of that name any more; choose another text")
        }
    }
}
