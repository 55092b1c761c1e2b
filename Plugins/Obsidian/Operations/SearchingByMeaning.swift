import KnapPlugin

/// search_notes with mode meaning or both.
extension ObsidianPlugin {
    enum SearchMode: String, Sendable, CaseIterable {
        /// The notes that the query finds in Obsidian.
        case words
        /// Those that mean the like, whatever their words.
        case meaning
        /// Ranked by both, for questions in whole sentences.
        case both

        init(_ text: String?) throws(VaultError) {
            guard let mode = SearchMode(rawValue: text ?? SearchMode.words.rawValue) else {
                let known = SearchMode.allCases.map(\.rawValue).joined(separator: ", ")
                throw VaultError(.invalidArgument, "mode '\(text ?? "")' is unknown; it is one of \(known)")
            }
            self = mode
        }
    }

    /// So far a ranking goes; behind that, nearness says nothing.
    private static let deepest = 200

    func searchByMeaning(
        _ query: SearchQuery, _ mode: SearchMode, _ input: SearchInput, _ page: Page, _ vault: Vault,
        check: @escaping () throws -> Void
    ) throws -> SearchOutput {
        let asked = MeaningQuery(query)
        guard !asked.words.isEmpty else {
            throw VaultError(
                .invalidArgument,
                "mode \(mode.rawValue) looks for what words mean, and the query has operators only; add words, or use mode words"
            )
        }
        var allowed: Set<String>?
        if let filter = asked.filter {
            let (hits, _) = try vault.index.search(filter, folder: input.path, limit: .max, offset: 0, check: check)
            allowed = Set(hits.map(\.summary.path))
        }
        let excluded = vault.excludedFiles
        if !excluded.isEmpty { allowed = (allowed ?? vault.paths).filter { !excluded.contains($0) } }
        var rankings: [[String]] = []
        var near: [String: VectorTable.Hit] = [:]
        var notice: String?
        do {
            let hits = try vault.notes(
                meaning: asked.text, folder: input.path, among: allowed, isOfFew: asked.filter != nil, most: Self.deepest)
            for hit in hits { near[hit.path] = hit }
            rankings.append(hits.map(\.path))
        } catch let error as VaultError where mode == .both {
            notice = "ranked by words alone: \(error.message)"
        }
        if mode == .both {
            let ranked = try vault.index.ranked(
                anyOf: asked.words, folder: input.path, most: asked.filter == nil && excluded.isEmpty ? Self.deepest : .max)
            rankings.append(Array(ranked.filter { allowed?.contains($0) ?? true }.prefix(Self.deepest)))
        }
        let order = RankFusion.fuse(rankings)
        let snippets = MeaningSnippets(asked, vault, check: check)
        let matches = try order.dropFirst(page.offset).prefix(page.limit).map { try snippets.match($0, near[$0]) }
        var budget = try TokenBudget(input.max_tokens)
        let shown = budget.fitting(matches, \.length)
        return SearchOutput(
            total: order.count, notes: shown, next_offset: page.next(shown: shown.count, of: order.count),
            indexing: Indexing(vault) ?? Indexing(meaningOf: vault), notice: notice ?? vault.meaning?.report.problem)
    }
}

extension Vault {
    func notes(
        meaning text: String, folder: String?, among allowed: Set<String>?, isOfFew: Bool = false, most: Int
    ) throws -> [VectorTable.Hit] {
        guard let meaning else {
            throw VaultError(
                .failedPrecondition,
                "search by meaning is not available: no folder is set for its table; use mode words")
        }
        return try meaning.nearest(to: text, folder: folder, among: allowed, isOfFew: isOfFew, most: most)
    }
}

extension Indexing {
    /// Nil once the vectors of all notes are there, or when none will ever be.
    init?(meaningOf vault: Vault) {
        guard let report = vault.meaning?.report, [.indexing, .failed].contains(report.condition) else { return nil }
        done = report.done
        total = report.total
    }
}

/// The part of a note that answers a question, and the lines of it that are nearest.
private struct MeaningSnippets {
    private static let most = 2

    private let query: MeaningQuery
    private let vault: Vault
    private let words: Snippets

    init(_ query: MeaningQuery, _ vault: Vault, check: @escaping () throws -> Void) {
        self.query = query
        self.vault = vault
        words = Snippets(.any(query.words.map { .word($0) }), check: check)
    }

    func match(_ path: String, _ near: VectorTable.Hit?) throws -> ObsidianPlugin.SearchOutput.Match {
        // It may have gone since it was found.
        guard let text = try vault.index.content(of: path)?.text else { return .init(path: path, lines: []) }
        guard let near, let meaning = vault.meaning else {
            let summary = NoteSummary(path: path, title: VaultPath(trusted: path).title, modified: 0, size: 0)
            return .init(path: path, lines: try words.lines(of: .init(summary: summary, properties: "{}", body: text)))
        }
        let layout = TextLines(text)
        // The heading is told beside them.
        let isHeaded = !near.heading.isEmpty && near.lines.count > 1
        let body = near.lines.dropFirst(isHeaded ? 1 : 0)
        let lines = try meaning.lines(
            body.startIndex..<body.endIndex, of: layout, nearestTo: query.text, most: Self.most)
        return .init(
            path: path,
            lines: lines.map { .init(line: $0 + 1, text: Snippets.shortened(layout.text(line: $0), around: 0)) },
            heading: near.heading.isEmpty ? nil : near.heading, first_line: near.lines.lowerBound + 1,
            last_line: max(near.lines.lowerBound + 1, near.lines.upperBound))
    }
}
