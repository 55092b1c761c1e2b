import KnapPlugin

/// unlinked_mentions.
extension ObsidianPlugin {
    struct MentionsInput: Codable, Sendable {
        enum Direction: String, Codable, Sendable { case `in`, out }

        var path: String
        var direction: Direction?
        var marks: Bool?
        var limit: Int?
        var offset: Int?
        var max_tokens: Int?
        var vault: String?
    }

    struct MentionsOutput: Codable, Sendable {
        struct Mention: Codable, Sendable {
            var line: Int
            var text: String
            /// Begin and end of the name in the text, in Unicode scalars.
            var marks: [[Int]]?
        }
        struct Note: Codable, Sendable {
            var path: String
            var mentions: [Mention]
            /// How many more there are in this note.
            var more: Int?
        }
        var path: String
        /// What was looked for.
        var names: [String]?
        /// How many notes; none where not all that could be were looked at.
        var total: Int?
        /// No more notes than these.
        var at_most: Int?
        var notes: [Note]
        var next_offset: Int?
        var indexing: Indexing?
    }

    private static let mostOfNote = 5
    /// So many notes are looked at in any case, to say how many there are.
    private static let fewCandidates = 500

    func mentions(_ input: MentionsInput, _ call: Call) throws -> MentionsOutput {
        let vault = try vaults.vault(input.vault, call)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 20, most: 200)
        let path = try vault.find(input.path)
        let patience = WalkPatience(call)
        return input.direction == .out
            ? try mentionedBy(path, input, page, patience, vault) : try mentionsOf(path, input, page, patience, vault)
    }

    /// In which notes its names stand.
    private func mentionsOf(
        _ path: VaultPath, _ input: MentionsInput, _ page: Page, _ patience: WalkPatience, _ vault: Vault
    ) throws -> MentionsOutput {
        let text = path.isNote ? try vault.readText(path).text : ""
        let aliases = NoteParser.parse(text).frontMatter?.aliases ?? []
        var names: [MentionFinder.Name] = []
        for name in [path.title] + aliases {
            if let name = MentionFinder.Name(String(name.trimmed)), !names.contains(where: { $0.folded == name.folded })
            {
                names.append(name)
            }
        }
        let finder = MentionFinder(names: names)
        let excluded = vault.excludedFiles
        let candidates = try vault.index.notesNaming(names.map(\.text)).filter { $0 != path.text && !excluded.contains($0) }
        let wanted = page.offset + page.limit
        var found: [MentionsOutput.Note] = []
        var examined = 0
        var count = 0
        for candidate in candidates {
            if count > wanted, examined >= Self.fewCandidates { break }
            try patience.check()
            examined += 1
            // What has gone meanwhile mentions nothing.
            guard let text = try? vault.readText(VaultPath(trusted: candidate)).text else { continue }
            let mentions = finder.mentions(in: text)
            guard !mentions.isEmpty else { continue }
            count += 1
            if count > page.offset, count <= wanted {
                found.append(Self.note(candidate, mentions, text, input.marks ?? false))
            }
        }
        let isAll = examined == candidates.count
        let shown = try Self.fitting(found, input.max_tokens)
        return MentionsOutput(
            path: path.text, names: names.map(\.text), total: isAll ? count : nil,
            at_most: isAll ? nil : candidates.count, notes: shown,
            next_offset: page.next(shown: shown.count, of: count), indexing: Indexing(vault))
    }

    /// Whose names stand in it.
    private func mentionedBy(
        _ path: VaultPath, _ input: MentionsInput, _ page: Page, _ patience: WalkPatience, _ vault: Vault
    ) throws -> MentionsOutput {
        let text = try vault.readText(path).text
        let graph = try vault.linkGraph()
        let (names, nodes) = try KnownNames(text).names(
            of: graph, except: path.text, resolver: vault.resolver, check: patience.check)
        let excluded = vault.excludedFiles
        var byNode: [LinkGraph.Node: [MentionFinder.Mention]] = [:]
        var order: [LinkGraph.Node] = []
        for mention in MentionFinder(names: names).mentions(in: text) {
            for node in nodes[mention.name] where !excluded.contains(graph.path(node)) {
                if byNode[node] == nil { order.append(node) }
                byNode[node, default: []].append(mention)
            }
        }
        let all = order.dropFirst(page.offset).prefix(page.limit).map { node in
            Self.note(graph.path(node), byNode[node] ?? [], text, input.marks ?? false)
        }
        let shown = try Self.fitting(all, input.max_tokens)
        return MentionsOutput(
            path: path.text, total: order.count, notes: shown,
            next_offset: page.next(shown: shown.count, of: order.count),
            indexing: Indexing(vault))
    }

    private static func note(
        _ path: String, _ mentions: [MentionFinder.Mention], _ text: String, _ hasMarks: Bool
    ) -> MentionsOutput.Note {
        let lines = TextLines(text)
        // Several in one line are shown together.
        let numbers = Dictionary(grouping: mentions, by: \.line).sorted { $0.key < $1.key }
        let shown = numbers.prefix(mostOfNote).map { number, mentions in
            let line = MarkedLine(lines.bytes[lines.lines[number]], places: mentions.map(\.place))
            return MentionsOutput.Mention(line: number + 1, text: line.text, marks: hasMarks ? line.marks : nil)
        }
        let more = numbers.dropFirst(mostOfNote).reduce(0) { $0 + $1.value.count }
        return MentionsOutput.Note(path: path, mentions: shown, more: more > 0 ? more : nil)
    }

    private static func fitting(_ notes: [MentionsOutput.Note], _ tokens: Int?) throws -> [MentionsOutput.Note] {
        var budget = try TokenBudget(tokens)
        return budget.fitting(notes) { note in
            note.mentions.reduce(note.path.utf8.count + 30) {
                $0 + $1.text.utf8.count + 30 + ($1.marks?.count ?? 0) * 10
            }
        }
    }
}
