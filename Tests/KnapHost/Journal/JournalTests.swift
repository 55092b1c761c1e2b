import Glibc
import KnapJSON
import Testing

@testable import KnapHost

@Suite("The journal")
struct JournalTests {
    let scratch: Scratch
    var path: String { scratch.file("journal") }

    init() throws { scratch = try Scratch() }

    private func recovery() throws -> Journal.Recovery {
        var recovery = Journal.Recovery()
        _ = try Journal(path: path) { recovery = $0 }
        return recovery
    }

    @Test("gives back after a restart what was appended, in order")
    func append() throws {
        var journal = try Journal(path: path) { #expect($0 == Journal.Recovery()) }
        for index in 0..<10 { try journal.append(["n": .number(JSONNumber(index)), "text": "two\nlines"]) }
        #expect(try recovery().entries.map { $0["n"]?.intValue } == Array(0..<10))
        #expect(try recovery().entries.last?["text"] == "two\nlines")
    }

    @Test("loses the torn last line and nothing else, wherever it was torn")
    func tornTail() throws {
        var journal = try Journal(path: path) { _ in }
        try journal.append(["a": 1])
        try journal.append(["b": "ü"])
        let whole = try Scratch.read(path)
        let first = try #require(whole.firstIndex(of: 10)) + 1
        for length in 0..<whole.count {
            try scratch.write(whole.prefix(length), to: "journal")
            let found = try recovery()
            #expect(found.entries == (length < first ? [] : [["a": 1]]), "cut at \(length)")
            #expect(try Scratch.read(path).count == (length < first ? 0 : first), "cut at \(length)")
            #expect(try recovery().discarded == 0)
        }
    }

    @Test("goes on after a torn line as if it had never been")
    func appendAfterTear() throws {
        try scratch.write("{\"a\":1}\n{\"b\"", to: "journal")
        var journal = try Journal(path: path) { #expect($0.discarded == 4) }
        try journal.append(["c": 3])
        #expect(try recovery().entries == [["a": 1], ["c": 3]])
    }

    @Test("takes zeros that a power cut left at the end for a torn tail")
    func zeros() throws {
        try scratch.write(Array("{\"a\":1}\n".utf8) + [UInt8](repeating: 0, count: 4096), to: "journal")
        #expect(try recovery() == Journal.Recovery(entries: [["a": 1]], discarded: 4096))
    }

    @Test("does not pass over damage in the middle")
    func damage() throws {
        try scratch.write("{\"a\":1}\n{\"b\n{\"c\":3}\n", to: "journal")
        let error = #expect(throws: StoreError.self) { try recovery() }
        #expect(error?.code == .corrupted)
        #expect(error?.message.contains("journal:2: the line is damaged") == true)
    }

    @Test("can be rewritten with what still matters and goes on from there")
    func rewrite() throws {
        var journal = try Journal(path: path) { _ in }
        for index in 0..<100 { try journal.append(.number(JSONNumber(index))) }
        try journal.rewrite([98, 99])
        try journal.append(100)
        #expect(try recovery().entries == [98, 99, 100])
    }

    @Test("says why when it cannot be written")
    func unwritable() throws {
        // A link is refused: the journal is written where the state directory is, nowhere else.
        symlink(scratch.file("elsewhere"), scratch.file("link"))
        let link = #expect(throws: StoreError.self) { _ = try Journal(path: scratch.file("link")) { _ in } }
        #expect(link?.code == .output)
        let directory = #expect(throws: StoreError.self) {
            _ = try Journal(path: scratch.file("none/journal")) { _ in }
        }
        #expect(directory?.message.contains("it cannot be opened: No such file or directory") == true)
    }
}
