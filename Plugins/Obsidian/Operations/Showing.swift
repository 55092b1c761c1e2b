import KnapPlugin

/// search_marked and details: what people see of a vault.
extension ObsidianPlugin {
    struct MarkedSearchOutput: Encodable, Sendable {
        struct Line: Encodable, Sendable {
            var line: Int
            var text: String
            /// Begin and end of what was found in the text, in Unicode scalars.
            var marks: [[Int]]
        }
        struct Match: Encodable, Sendable {
            var path: String
            var lines: [Line]
        }
        var total: Int
        var notes: [Match]
        var next_offset: Int?
        var indexing: Indexing?
    }

    func searchMarked(_ input: SearchInput, _ call: Call) throws -> MarkedSearchOutput {
        let marks = SearchMarks(try SearchQuery(input.query))
        let found = try searchNotes(input, call)
        let notes = try found.notes.map { note in
            MarkedSearchOutput.Match(
                path: note.path,
                lines: try note.lines.map { line in
                    let marked = MarkedLine(Array(line.text.utf8)[...], places: try marks.places(in: line.text))
                    return .init(line: line.line, text: marked.text, marks: marked.marks)
                })
        }
        return MarkedSearchOutput(
            total: found.total, notes: notes, next_offset: found.next_offset, indexing: found.indexing)
    }

    struct DetailsOutput: Encodable, Sendable {
        struct Details: Encodable, Sendable {
            let status: StatusOutput.Status
            let more: More

            func encode(to encoder: any Encoder) throws {
                try status.encode(to: encoder)
                try more.encode(to: encoder)
            }
        }
        struct More: Encodable, Sendable {
            var other_files: Int
            var links: Int
            /// None while notes are being indexed.
            var broken_links: Int?
            var tags: Int
            var changes: Int
            var journal_bytes: Int
            /// `all folders`, or what is not watched.
            var watching: String
            var problem: String?
        }
        var vaults: [Details]
    }

    func details(_ input: Empty, _ call: Call) throws -> DetailsOutput {
        let known = try status(input, call).vaults
        return DetailsOutput(
            vaults: try zip(zip(vaults.all(for: call), vaults.open.map(\.watcher)), known).map { open, status in
                let (vault, watcher) = open
                let (links, tags) = try vault.index.counts()
                let isWhole = vault.files.access.rules.isEmpty
                let (changes, bytes) =
                    isWhole ? try vault.journal.size() : (try vault.journal.entries(about: nil, limit: 1, offset: 0).total, 0)
                // While much is indexed the graph would be made again and again.
                let broken = vault.progress.isComplete ? try vault.linkGraph().broken.reduce(0) { $0 + Int($1) } : nil
                let paths = vault.paths
                return .init(
                    status: status,
                    more: .init(
                        other_files: paths.count - paths.count { VaultPath(trusted: $0).isNote }, links: links,
                        broken_links: broken, tags: tags, changes: changes, journal_bytes: bytes,
                        watching: watcher.state,
                        problem: vault.indexProblem ?? vault.journal.problem))
            })
    }
}
