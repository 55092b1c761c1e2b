import KnapPlugin

/// query_notes, recent_changes, status.
extension ObsidianPlugin {
    struct QueryInput: Codable, Sendable {
        struct Comparison: Codable, Sendable {
            var property: String
            var op: String?
            var value: JSON?
        }
        var tag: String?
        var path: String?
        var `where`: [Comparison]?
        var links_to: String?
        var modified_since: String?
        var sort: String?
        var limit: Int?
        var offset: Int?
        var max_tokens: Int?
        var vault: String?
    }

    struct QueryOutput: Codable, Sendable {
        struct Note: Codable, Sendable {
            var path: String
            var modified: String
            var properties: JSON?
        }
        var total: Int
        var notes: [Note]
        var next_offset: Int?
        var indexing: Indexing?
    }

    func queryNotes(_ input: QueryInput, _ call: Call) throws -> QueryOutput {
        let vault = try vaults.vault(input.vault, call)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 50, most: 500)
        var condition = SQLCondition()
        if let tag = input.tag { condition.add(.tag(tag)) }
        if let folder = input.path { condition.addFolder(folder) }
        for comparison in input.where ?? [] {
            condition.add(
                try .property(comparison.property, comparison.op ?? (comparison.value == nil ? "exists" : "="), comparison.value))
        }
        if let since = input.modified_since {
            guard let time = Timestamp.parse(since) else {
                throw VaultError(.invalidArgument, "modified_since '\(since)' is not a date such as 2026-05-31 or 2026-05-31T09:30")
            }
            condition.add(SQLCondition("note.modified >= ?", [time * 1_000_000_000]))
        }
        if let target = input.links_to {
            let sources = Set(try vault.backlinks(to: try vault.find(target, argument: "links_to").text).map(\.path))
            let list = JSON.array(sources.sorted().map { .string($0) }).serialized()
            condition.add(SQLCondition("note.path IN (SELECT value FROM json_each(?))", [list]))
        }
        guard let order = NoteIndex.Order(rawValue: input.sort ?? "modified") else {
            throw VaultError(.invalidArgument, "sort '\(input.sort ?? "")' is unknown; it is one of modified, path, size")
        }
        let (notes, total) = try vault.index.notes(where: condition, order: order, limit: page.limit, offset: page.offset)
        var budget = try TokenBudget(input.max_tokens)
        let shown = budget.fitting(notes) { $0.0.path.utf8.count + 60 + $0.1.serialized().utf8.count }
        return QueryOutput(
            total: total,
            notes: shown.map { summary, properties in
                .init(
                    path: summary.path, modified: Timestamp.text(summary.modified),
                    properties: properties.objectValue?.isEmpty == false ? properties : nil)
            },
            next_offset: page.next(shown: shown.count, of: total), indexing: Indexing(vault))
    }

    struct RecentInput: Codable, Sendable {
        var limit: Int?
        var offset: Int?
        var vault: String?
    }

    func recentChanges(_ input: RecentInput, _ call: Call) throws -> QueryOutput {
        let vault = try vaults.vault(input.vault, call)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 20, most: 500)
        let (notes, total) = try vault.index.notes(where: SQLCondition(), order: .modified, limit: page.limit, offset: page.offset)
        return QueryOutput(
            total: total, notes: notes.map { .init(path: $0.0.path, modified: Timestamp.text($0.0.modified)) },
            next_offset: page.next(shown: notes.count, of: total), indexing: Indexing(vault))
    }

    struct StatusOutput: Codable, Sendable {
        struct Status: Codable, Sendable {
            var name: String
            var path: String
            var notes: Int
            var indexed: Int
            var ready: Bool
            /// Of search by meaning: absent, indexing, ready or failed, and of how many notes it knows the meaning.
            var meaning: String
            var meaning_indexed: Int
            var meaning_problem: String?
            /// Notes that the processors have been at since they changed last.
            var processed: Int
            /// Of processors; vault.processing lists them.
            var failures: Int
            /// What is wrong with its history, or was; none where it is whole.
            var history: String?
            /// How far parts of words are, while not all are known: `index 40 %`. Answers are right meanwhile.
            var substrings: String?
        }
        var vaults: [Status]
    }

    func status(_ input: Empty, _ call: Call) throws -> StatusOutput {
        StatusOutput(
            vaults: try vaults.all(for: call).map { vault in
                let progress = vault.progress
                let meaning = vault.meaning?.report
                let pipeline = vaults.pipeline(of: vault)
                // What came and went since it was complete is in the index alone.
                let count = progress.isComplete ? try? vault.index.count() : nil
                let percent = progress.isComplete ? try vault.index.gramPercent() : 0
                return .init(
                    name: vault.name, path: vault.files.root, notes: count ?? progress.total,
                    indexed: count ?? progress.done, ready: progress.isComplete,
                    meaning: (meaning?.condition ?? .absent).rawValue, meaning_indexed: meaning?.done ?? 0,
                    meaning_problem: meaning?.problem, processed: min(pipeline?.processed ?? 0, count ?? progress.total),
                    failures: try pipeline?.store.failures().count { vault.files.access.sees($0.path) } ?? 0,
                    history: vault.journal.problem ?? vault.journal.notice, substrings: percent < 100 ? Indexing.text(percent) : nil)
            })
    }

    struct ResourceInput: Codable, Sendable {
        var uri: String
        var arguments: JSON?
    }

    struct ResourceOutput: Codable, Sendable {
        struct Content: Codable, Sendable {
            var uri: String
            var mimeType: String
            var text: String
        }
        var contents: [Content]
    }

    /// `vault:///Folder/Note.md`, or `vault://NAME/Folder/Note.md` where several vaults are open, percent-encoded as URIs are.
    func readResource(_ input: ResourceInput, _ call: Call) throws -> ResourceOutput {
        guard let (name, path) = NoteAddress.read(input.uri) else {
            throw VaultError(
                .notFound,
                "there is no resource '\(input.uri)'; notes are vault:///Folder/Note.md, or vault://NAME/Folder/Note.md of several vaults")
        }
        let vault = try vaults.vault(name, call)
        let (text, _, _) = try vault.readText(try vault.find(path, argument: "uri"))
        return ResourceOutput(contents: [.init(uri: input.uri, mimeType: "text/markdown", text: text)])
    }
}
