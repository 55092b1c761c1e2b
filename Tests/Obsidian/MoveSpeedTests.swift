import Glibc
import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

/// Measures, and asserts nothing about time: `KNAP_MEASURE=true`.
@Suite("Speed of moves", .enabled(if: getenv("KNAP_MEASURE") != nil))
struct MoveSpeedTests {
    @Test("a note with 10,000 backlinks, then the folder of all of them")
    func manyBacklinks() throws {
        var files = ["Target.md": "target"]
        let words = ["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit"]
        var generator = SeededGenerator(seed: 1)
        for number in 0..<10_000 {
            let text = (0..<250).map { _ in words[Int.random(in: 0..<8, using: &generator)] + "\(Int.random(in: 0..<999, using: &generator))" }
            files["notes/\(number % 100)/Note \(number).md"] = text.joined(separator: " ") + "\n[[Target]] [[Note \((number + 1) % 10_000)]]\n"
        }
        let scratch = try ScratchVault(files)
        let clock = ContinuousClock()
        func measure(_ what: String, _ body: () throws -> Void) rethrows { print(what, try clock.measure(body)) }
        try measure("plan") { _ = try VaultMove("Target.md", to: "Renamed.md", in: scratch.vault).changes() }
        try measure("rename of a note with 10,000 backlinks") { try scratch.move("Target.md", to: "Renamed.md") }
        try measure("move of a folder with 10,000 notes") { try scratch.move("notes", to: "elsewhere/all") }
        try measure("undo of that") {
            let conflicts = try scratch.undo(2)
            #expect(conflicts == [])
        }
    }
}
