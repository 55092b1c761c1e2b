import Glibc
import KnapJSON
import TestSupport
import Testing

@testable import Obsidian

/// The model that the set-up fetches. Without it these tests are skipped, except in CI.
private enum Model {
    static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    static let folder = root + "/.build/knap/share/knap/WordLlama"
    static let isThere = ModelSource(folder: folder).isThere || TestData.isRequired
    static let shared = ModelSource(folder: folder)
}

@Suite("The model of search by meaning", .enabled(if: Model.isThere))
struct MeaningModelTests {
    private struct Recorded: Decodable {
        var text: String
        var tokens: [Int32]
        var vector: [Float]?
    }

    private static func recorded() throws -> [Recorded] {
        let bytes = try TestData.read(Model.root + "/Tests/Fixtures/Tokens/tokens.json")
        return try JSON.parse(bytes).arrayValue!.map { try $0.decoded(as: Recorded.self) }
    }

    @Test("takes texts apart as the package tokenizers does")
    func tokens() throws {
        let tokenizer = try Tokenizer(json: try TestData.read(Model.folder + "/" + MeaningModel.tokenizerFile))
        let recorded = try Self.recorded()
        #expect(recorded.count > 250)
        for each in recorded {
            #expect(tokenizer.tokens(of: each.text) == each.tokens, "\(each.text.debugDescription)")
        }
    }

    @Test("gives texts the vectors that numpy gives them")
    func vectors() throws {
        let model = try Model.shared.get()
        let known = try Self.recorded().filter { $0.vector != nil }
        #expect(known.count > 50)
        for each in known {
            let vector = try #require(model.vector(of: each.text))
            for (number, expected) in zip(vector, each.vector ?? []) {
                #expect(abs(number - expected) < 1e-4, "\(each.text.debugDescription)")
            }
            #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-4)
        }
        #expect(model.vector(of: "") == nil)
    }

    @Test("finds the like of a text nearer than the unlike")
    func sense() throws {
        let model = try Model.shared.get()
        func near(_ left: String, _ right: String) throws -> Float {
            zip(try #require(model.vector(of: left)), try #require(model.vector(of: right))).reduce(0) {
                $0 + $1.0 * $1.1
            }
        }
        let question = "how do I make dough rise"
        #expect(
            try near(question, "Let the bread rest with yeast for an hour") > near(question, "The engine needs new oil")
        )
    }

    @Test(
        "is refused with its reason when a file of it is broken",
        arguments: [MeaningModel.tableFile, MeaningModel.tokenizerFile])
    func broken(_ name: String) throws {
        let folder = try TemporaryFolder()
        try folder.run("cp", "-r", Model.folder + "/.", folder.path)
        #expect(truncate(folder.path + "/" + name, 100_000) == 0)
        let error = #expect(throws: VaultError.self) { try ModelSource(folder: folder.path).get() }
        #expect(error?.message.contains(name) == true, "\(String(describing: error))")
    }
}

@Suite("A quantised vector")
struct QuantisedVectorTests {
    @Test("is near what it was made of, and so is the product of two", arguments: 1...50)
    func bound(_ seed: UInt64) {
        var chance = SeededGenerator(seed: seed)
        func vector() -> [Float] {
            let numbers = (0..<EmbeddingTable.width).map { _ in
                Float.random(in: -1...1, using: &chance) * .random(in: 0...1, using: &chance)
            }
            let length = numbers.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return numbers.map { $0 / length }
        }
        let (left, right) = (vector(), vector())
        let (small, other) = (QuantisedVector(left), QuantisedVector(right))
        for (number, kept) in zip(left, small.vector) { #expect(abs(number - kept) <= small.scale / 2 * 1.001) }
        let product = Float(QuantisedVector.product(small.numbers, other.numbers)) * small.scale * other.scale
        #expect(abs(product - zip(left, right).reduce(0) { $0 + $1.0 * $1.1 }) < 0.01)
    }

    @Test("of nothing is nothing")
    func zero() {
        let vector = QuantisedVector([Float](repeating: 0, count: EmbeddingTable.width))
        #expect(vector.scale == 0 && vector.numbers.allSatisfy { $0 == 0 })
    }
}

@Suite("Chunks of a note")
struct NoteChunkTests {
    private func chunks(_ text: String) -> [(Range<Int>, [String], String)] {
        NoteChunk.chunks(of: text, title: "T").map { ($0.lines, $0.headings, $0.text) }
    }

    @Test("are its sections, with the headings above them and without properties")
    func sections() {
        let found = chunks("---\na: 1\n---\nintro\n\n# One\nfirst\n## Two\n\nsecond\n### Empty\n# Three\nthird\n")
        #expect(found.map(\.0) == [3..<5, 5..<7, 7..<10, 10..<11, 11..<14])
        #expect(found.map(\.1) == [[], ["One"], ["One", "Two"], ["One", "Two", "Empty"], ["Three"]])
        #expect(
            found.map(\.2) == [
                "T\nintro\n", "T\nOne\nfirst", "T\nOne\nTwo\n\nsecond", "T\nOne\nTwo\nEmpty", "T\nThree\nthird\n",
            ])
    }

    @Test("of a note without text are its title", arguments: ["", "\n\n", "---\na: 1\n---\n"])
    func empty(_ text: String) { #expect(chunks(text).map(\.2) == ["T"]) }

    @Test("do not say a heading again that is the title, and know headings that are underlined")
    func headings() {
        let found = chunks("# T\ntext\n\nUnder\n=====\nbody")
        #expect(found.map(\.2) == ["T\ntext\n", "T\nUnder\nbody"])
        #expect(found.map(\.0) == [0..<3, 3..<6])
    }

    @Test("are never longer than a limit, and together everything", arguments: 1...100)
    func bounds(_ seed: UInt64) {
        var chance = SeededGenerator(seed: seed)
        let words = [
            "word", "a", "長い言葉", "é", "x".repeated(300), "y".repeated(1500), "\n", "\n\n", "\n# Head\n", "\r\n", "😀",
        ]
        let text = (0..<Int.random(in: 1...400, using: &chance)).map { _ in words.randomElement(using: &chance)! }
            .joined(separator: " ")
        let found = NoteChunk.chunks(of: text, title: "T")
        let lines = TextLines(text).lines.count
        var last = 0
        for chunk in found {
            let context = ([""] + chunk.headings.filter { $0 != "T" }).joined(separator: "\n").utf8.count + 2
            #expect(chunk.text.utf8.count <= context + NoteChunk.longest, "seed \(seed)")
            #expect(
                chunk.lines.lowerBound >= last - 1 && chunk.lines.upperBound <= lines && !chunk.lines.isEmpty,
                "seed \(seed)")
            last = chunk.lines.upperBound
        }
        func letters(_ text: String) -> Int { text.count { $0 == "x" || $0 == "y" || $0 == "長" || $0 == "😀" } }
        #expect(found.reduce(0) { $0 + letters($1.text) } == letters(text), "seed \(seed)")
    }

    @Test("of a line without end are bounded")
    func huge() { #expect(chunks("z".repeated(5_000_000)).count == NoteChunk.mostOfNote) }
}

extension String {
    fileprivate func repeated(_ count: Int) -> String { String(repeating: self, count: count) }
}

@Suite("Two rankings")
struct RankFusionTests {
    @Test(
        "become one by reciprocal ranks",
        arguments: [
            ([["a", "b", "c"], ["c", "b", "d"]], ["c", "b", "a", "d"]),
            ([["a", "b"], []], ["a", "b"]), ([], []), ([["a"], ["b"]], ["a", "b"]),
            // What both have in the middle is before what only one has in front.
            ([["x", "m"], ["y", "m"]], ["m", "x", "y"]),
        ])
    func fused(_ rankings: [[String]], _ expected: [String]) { #expect(RankFusion.fuse(rankings) == expected) }

    @Test(
        "are asked for words, and operators say which notes count",
        arguments: [
            ("red apples", "red apples", nil), ("tag:fruit what is red", "what is red", "tag:fruit"),
            ("red -green [rank:3]", "red", "-green [rank:3]"), ("\"red apple\" pie", "red apple pie", "\"red apple\""),
            ("apple OR pear", "apple pear", nil), ("tag:x", "", "tag:x"), ("a (b OR tag:c)", "a b", "b OR tag:c"),
        ])
    func query(_ text: String, _ words: String, _ filter: String?) throws {
        let query = MeaningQuery(try SearchQuery(text))
        #expect(query.text == words)
        #expect(query.filter?.description == filter)
    }
}

@Suite("A table of vectors")
struct VectorTableTests {
    private static func vector(_ chance: inout SeededGenerator) -> QuantisedVector {
        QuantisedVector(
            numbers: (0..<EmbeddingTable.width).map { _ in .random(in: -127...127, using: &chance) }, scale: 0.001)
    }

    @Test("finds what comparing one by one finds, whatever was put, replaced and removed", arguments: 1...30)
    func oracle(_ seed: UInt64) {
        var chance = SeededGenerator(seed: seed)
        var table = VectorTable()
        var known: [String: VectorStore.Note] = [:]
        for round in 0..<120 {
            let path =
                "\(["A", "A/b", "C"].randomElement(using: &chance)!)/\(Int.random(in: 0..<25, using: &chance)).md"
            if Bool.random(using: &chance) || known[path] == nil {
                let chunks = (0..<Int.random(in: 0...4, using: &chance)).map {
                    VectorStore.Chunk(lines: $0..<$0 + 1, heading: "h\($0)", vector: Self.vector(&chance))
                }
                known[path] = VectorStore.Note(path: path, version: "\(round)", chunks: chunks)
                table.put(known[path]!)
            } else {
                known[path] = nil
                table.remove(path)
            }
            #expect(table.count == known.count && table.version(of: path) == known[path]?.version)
        }
        let question = Self.vector(&chance)
        for (folder, most) in [(nil, 100), (nil, 3), ("a", 100), ("A/b/", 2), ("", 100)] as [(String?, Int)] {
            let wanted = folder.map { folded($0.hasSuffix("/") ? String($0.dropLast()) : $0) } ?? ""
            let expected = known.values.compactMap { note -> (String, Float)? in
                let place = folded(VaultPath(trusted: note.path).folder)
                guard wanted.isEmpty || place == wanted || place.hasPrefix(wanted + "/") else { return nil }
                return note.chunks.map {
                    Float(QuantisedVector.product(question.numbers, $0.vector.numbers)) * 0.001 * 0.001
                }.max().map { (note.path, $0) }
            }.filter { $0.1 > 0 }.sorted { ($1.1, $0.0) < ($0.1, $1.0) }.prefix(most)
            let found = table.nearest(to: question, folder: folder, least: 0, most: most)
            #expect(found.map(\.path) == expected.map(\.0), "seed \(seed), folder \(folder ?? "-")")
        }
    }
}

@Suite("Kept vectors")
struct VectorStoreTests {
    let folder: TemporaryFolder
    var path: String { folder.path + "/meaning.sqlite" }

    init() throws { folder = try TemporaryFolder() }

    private static let note = VectorStore.Note(
        path: "A/b.md", version: "v1",
        chunks: [
            .init(
                lines: 0..<7, heading: "",
                vector: QuantisedVector([Float](repeating: 0.0625, count: EmbeddingTable.width))),
            .init(
                lines: 7..<9, heading: "Überschrift",
                vector: QuantisedVector((0..<EmbeddingTable.width).map { Float($0) / 300 - 0.4 })),
        ])

    private func notes(_ store: VectorStore) throws -> [VectorStore.Note] {
        var notes: [VectorStore.Note] = []
        try store.notes { notes.append($0) }
        return notes
    }

    @Test("are what they were, until another model comes")
    func kept() throws {
        var store = try VectorStore(path: path)
        try store.use(model: "one")
        try store.change(put: [Self.note], remove: [])
        store = try VectorStore(path: path)
        try store.use(model: "one")
        #expect(try store.versions() == ["A/b.md": "v1"])
        #expect(try notes(store).first?.chunks == Self.note.chunks)
        try store.use(model: "two")
        #expect(try store.versions() == [:])
    }

    @Test("in a broken file are made anew", arguments: ["not a database at all".repeated(500), ""])
    func broken(_ content: String) throws {
        let file = try #require(fopen(path, "w"))
        fputs(content, file)
        fclose(file)
        let store = try VectorStore(path: path)
        try store.change(put: [Self.note], remove: [])
        #expect(try VectorStore(path: path).versions().count == 1)
    }

    @Test("that cannot be read are forgotten, one note at a time")
    func unreadable() throws {
        let bytes = VectorStore.bytes(Self.note.chunks)
        for count in 0..<bytes.count {
            let chunks = VectorStore.chunks(.init(bytes.prefix(count)))
            #expect(chunks == nil || chunks!.count < 2, "cut after \(count) bytes")
        }
        #expect(VectorStore.chunks(.init(bytes)) == Self.note.chunks)
    }
}

@Suite("Search by meaning", .enabled(if: Model.isThere))
struct MeaningIndexTests {
    let folder: TemporaryFolder
    var storePath: String { folder.path + "/meaning.sqlite" }

    init() throws {
        folder = try TemporaryFolder()
        mkdir(folder.path + "/vault", 0o755)
    }

    private func open(_ models: ModelSource = Model.shared) throws -> Vault {
        let vault = try Vault(
            root: folder.path + "/vault", indexPath: folder.path + "/index.sqlite",
            journalPath: folder.path + "/history.sqlite",
            meaning: (models, storePath))
        try vault.synchronize { false }
        return vault
    }

    private func write(_ vault: Vault, _ path: String, _ text: String) throws {
        _ = try vault.change { try vault.write(VaultPath(path), text) }
    }

    private func best(_ vault: Vault, _ question: String, folder: String? = nil) throws -> String? {
        try vault.notes(meaning: question, folder: folder, among: nil, most: 10).first?.path
    }

    @Test("finds a note at once when it was written, and no more when it has changed or gone")
    func changes() throws {
        let vault = try open()
        try #require(vault.meaning).takeIn()
        try write(vault, "Kitchen/Bread.md", "# Bread\nLet the dough rest with yeast until it has doubled.\n")
        try write(vault, "Garage.md", "# Car\nThe engine needs new oil every year.\n")
        #expect(try best(vault, "how to bake a loaf") == "Kitchen/Bread.md")
        #expect(try best(vault, "maintenance of the vehicle") == "Garage.md")
        #expect(try best(vault, "maintenance of the vehicle", folder: "kitchen/") != "Garage.md")
        #expect(vault.meaning?.report == .init(condition: .ready, done: 2, total: 2))
        try write(vault, "Garage.md", "# Bees\nThe hive has plenty of honey.\n")
        #expect(try best(vault, "insects that make sweet food") == "Garage.md")
        _ = try vault.change {
            try vault.apply(
                "delete", [.delete(VaultPath("Garage.md"), before: vault.files.read(VaultPath("Garage.md")).bytes)])
        }
        #expect(
            try !vault.notes(meaning: "insects that make sweet food", folder: nil, among: nil, most: 10).map(\.path)
                .contains("Garage.md"))
        #expect(vault.meaning?.report.total == 1)
    }

    @Test("makes only those vectors anew whose notes have changed while it was away")
    func restart() throws {
        do {
            let vault = try open()
            for name in ["One", "Two", "Three"] { try write(vault, "\(name).md", "# \(name)\nText of \(name).\n") }
            try #require(vault.meaning).takeIn()
            #expect(vault.meaning?.report.done == 3)
        }
        // Marked, to be known again if they are not made anew.
        let store = try VectorStore(path: storePath)
        for (path, version) in try store.versions() {
            let mark = VectorStore.Chunk(
                lines: 77..<78, heading: "mark", vector: QuantisedVector([Float](repeating: 0.0625, count: 256)))
            try store.change(put: [.init(path: path, version: version, chunks: [mark])], remove: [])
        }
        try folder.run("cp", "/etc/hostname", folder.path + "/vault/Two.md")
        unlink(folder.path + "/vault/Three.md")
        let vault = try open()
        #expect(vault.meaning?.report.condition == .indexing)
        try #require(vault.meaning).takeIn()
        #expect(vault.meaning?.report == .init(condition: .ready, done: 2, total: 2))
        var headings: [String: [String]] = [:]
        try VectorStore(path: storePath).notes { headings[$0.path] = $0.chunks.map(\.heading) }
        #expect(headings == ["One.md": ["mark"], "Two.md": [""]])
    }

    @Test("says what is missing without its model, and is there when that has come")
    func absent() throws {
        let models = ModelSource(folder: folder.path + "/model")
        let vault = try open(models)
        try write(vault, "Bread.md", "Let the dough rest.\n")
        #expect(vault.meaning?.report.condition == .absent)
        let error = #expect(throws: VaultError.self) { try best(vault, "baking") }
        #expect(error?.code == .failedPrecondition && error?.message.contains(folder.path + "/model") == true)
        try folder.run("cp", "-r", Model.folder, folder.path + "/model")
        try #require(vault.meaning).takeIn()
        #expect(try best(vault, "baking") == "Bread.md")
    }

    @Test("shows the lines that are nearest to the question")
    func lines() throws {
        let vault = try open()
        let text = TextLines(
            "# Notes\nThe engine needs oil.\n\nDough rises with yeast.\n---\nThe hive is full of honey.\n")
        let meaning = try #require(vault.meaning)
        #expect(try meaning.lines(1..<6, of: text, nearestTo: "baking bread", most: 1) == [3])
        #expect(try meaning.lines(0..<60, of: text, nearestTo: "bees", most: 2).contains(5))
        #expect(try meaning.lines(60..<70, of: text, nearestTo: "bees", most: 2) == [])
    }

    @Test("ranks by words that any note has, the rare before the common")
    func words() throws {
        let vault = try open()
        for number in 0..<20 { try write(vault, "\(number).md", "the common text \(number < 3 ? "seldom" : "")\n") }
        try write(vault, "Odd.md", "the quagga, common and seldom\n")
        let ranked = try vault.index.ranked(anyOf: ["where", "is", "the", "seldom", "quagga?"], folder: nil, most: 10)
        #expect(ranked.first == "Odd.md" && ranked.count == 4)
        #expect(try vault.index.ranked(anyOf: ["the"], folder: nil, most: 100).count == 21)
        #expect(try vault.index.ranked(anyOf: ["-", "?"], folder: nil, most: 100) == [])
    }
}
