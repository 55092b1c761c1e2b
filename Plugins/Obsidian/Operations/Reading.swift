import KnapPlugin

/// search_notes, read_note, list_notes.
extension ObsidianPlugin {
    struct SearchInput: Codable, Sendable {
        var query: String
        var path: String?
        var mode: String?
        var limit: Int?
        var offset: Int?
        var max_tokens: Int?
        var vault: String?
    }

    struct SearchOutput: Codable, Sendable {
        struct Line: Codable, Sendable {
            var line: Int
            var text: String
        }
        struct Match: Codable, Sendable {
            var path: String
            var lines: [Line]
            /// Of the part that was found by its meaning: its heading, and where it is.
            var heading: String?
            var first_line: Int?
            var last_line: Int?

            /// In characters, for the budget.
            var length: Int {
                lines.reduce(path.utf8.count + (heading.map { $0.utf8.count + 60 } ?? 0) + 24) { $0 + $1.text.utf8.count + 24 }
            }
        }
        var total: Int
        var notes: [Match]
        var next_offset: Int?
        var indexing: Indexing?
        /// Why this is not all that was asked for.
        var notice: String?
    }

    func searchNotes(_ input: SearchInput, _ call: Call) throws -> SearchOutput {
        let vault = try vaults.vault(input.vault, call)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 10, most: 100)
        let query = try SearchQuery(input.query)
        let mode = try SearchMode(input.mode)
        let patience = Patience(call)
        if mode != .words { return try searchByMeaning(query, mode, input, page, vault, check: patience.check) }
        var substrings: Int?
        let (hits, total) = try vault.index.search(
            query, folder: input.path, among: vault.excludedFiles.condition(among: vault.paths), limit: page.limit,
            offset: page.offset, check: patience.check
        ) { substrings = $0 }
        let snippets = Snippets(query, check: patience.check)
        let matches = try hits.map { SearchOutput.Match(path: $0.summary.path, lines: try snippets.lines(of: $0)) }
        var budget = try TokenBudget(input.max_tokens)
        let shown = budget.fitting(matches, \.length)
        return SearchOutput(
            total: total, notes: shown, next_offset: page.next(shown: shown.count, of: total),
            indexing: Indexing(vault, substrings: substrings))
    }

    struct ReadInput: Codable, Sendable {
        var path: String
        var heading: String?
        var offset: Int?
        var column: Int?
        var limit: Int?
        var max_tokens: Int?
        var vault: String?
    }

    struct ReadOutput: Codable, Sendable {
        var path: String
        var version: String
        var content: String
        var lines: Int
        var next_offset: Int?
        var next_column: Int?
    }

    /// Lines, because that is what search answers with; and never more characters than a client takes.
    func readNote(_ input: ReadInput, _ call: Call) throws -> ReadOutput {
        let vault = try vaults.vault(input.vault, call)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 2000, most: 100_000)
        let path = try vault.find(input.path)
        let (text, version, _) = try vault.readText(path)
        var part = text[...]
        if let heading = input.heading { part = try Section.find(heading, in: text, path: path) }
        // At the breaks themselves, which with a carriage return before them are one character.
        let lines = part.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map(Substring.init)
        var wanted = Array(lines.dropFirst(page.offset).prefix(page.limit))
        var budget = try TokenBudget(input.max_tokens)
        if let first = wanted.first {
            let column = max(0, input.column ?? 0)
            let rest = Substring(first.unicodeScalars.dropFirst(column))
            if let beginning = budget.beginning(of: rest) {
                return ReadOutput(
                    path: path.text, version: version, content: String(beginning), lines: lines.count,
                    next_offset: page.offset, next_column: column + beginning.unicodeScalars.count)
            }
            wanted[0] = rest
        }
        let shown = budget.fitting(wanted) { $0.utf8.count }
        return ReadOutput(
            path: path.text, version: version, content: shown.joined(separator: "\n"), lines: lines.count,
            next_offset: page.next(shown: shown.count, of: lines.count))
    }

    struct ListInput: Codable, Sendable {
        var path: String?
        var limit: Int?
        var offset: Int?
        var max_tokens: Int?
        var vault: String?
    }

    struct ListOutput: Codable, Sendable {
        var total: Int
        var notes: [String]
        /// On the first page.
        var folders: [String]
        /// How many more folders there are.
        var more_folders: Int?
        var next_offset: Int?
        var indexing: Indexing?
    }

    func listNotes(_ input: ListInput, _ call: Call) throws -> ListOutput {
        let vault = try vaults.vault(input.vault, call)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 100, most: 1000)
        let all = vault.paths.filter { $0.lowercased().hasSuffix(".md") }
        var prefix = ""
        if let folder = input.path, !folder.isEmpty, folder != "/" {
            let path = try VaultPath(folder.hasSuffix("/") ? String(folder.dropLast()) : folder)
            let wanted = folded(path.text + "/")
            guard let example = all.first(where: { folded($0).hasPrefix(wanted) }) else {
                let folders = Set(all.map { VaultPath(trusted: $0).folder })
                let hint = nearest(to: path.text, among: folders).map { "; did you mean '\($0)'?" } ?? ""
                throw VaultError(.notFound, "there is no folder '\(folder)' with notes in the vault\(hint)")
            }
            prefix = String(example.prefix(wanted.count))
        }
        let inside = all.filter { folded($0).hasPrefix(folded(prefix)) }.sorted()
        let folders = Set(inside.compactMap { path -> String? in
            let rest = path.dropFirst(prefix.count)
            return rest.firstIndex(of: "/").map { prefix + rest[..<$0] + "/" }
        })
        var budget = try TokenBudget(input.max_tokens)
        let shown = budget.fitting(inside.dropFirst(page.offset).prefix(page.limit)) { $0.utf8.count + 2 }
        let shownFolders = page.offset == 0 ? budget.fitting(folders.sorted()) { $0.utf8.count + 2 } : []
        let hidden = page.offset == 0 ? folders.count - shownFolders.count : 0
        return ListOutput(
            total: inside.count, notes: shown, folders: shownFolders, more_folders: hidden > 0 ? hidden : nil,
            next_offset: page.next(shown: shown.count, of: inside.count), indexing: Indexing(vault))
    }
}

/// How long a search may read texts: until its caller gives up, and no longer than people wait.
private struct Patience {
    private static let most = Duration.seconds(10)

    private let call: Call
    private let end = ContinuousClock.now + most

    init(_ call: Call) { self.call = call }

    func check() throws {
        guard !call.isCancelled else { throw CancellationError() }
        guard ContinuousClock.now < end else {
            throw VaultError(
                .deadlineExceeded,
                "the search took more than \(Self.most.components.seconds) seconds; "
                    + "add words, tag:, path: or the argument path, so that fewer texts have to be read")
        }
    }
}

/// The lines of a note that show why it was found.
struct Snippets {
    private static let most = 3, longest = 200

    private let evaluator: QueryEvaluator

    init(_ query: SearchQuery, check: @escaping () throws -> Void = {}) {
        evaluator = QueryEvaluator(query, check: check)
    }

    func lines(of hit: NoteIndex.Hit) throws -> [ObsidianPlugin.SearchOutput.Line] {
        let note = NoteText(path: hit.summary.path, properties: hit.properties, text: hit.body)
        return try evaluator.places(in: note, most: Self.most).map { place in
            .init(line: place.line + 1, text: Self.shortened(note.line(place.line), around: place.column))
        }
    }

    /// A long line is cut to what surrounds the match.
    static func shortened(_ line: String, around column: Int) -> String {
        guard line.count > longest else { return String(line.trimmed) }
        let start = max(0, min(column - 60, line.count - 180))
        let cut = line.dropFirst(start).prefix(180)
        return (start > 0 ? "…" : "") + cut + (start + 180 < line.count ? "…" : "")
    }
}
