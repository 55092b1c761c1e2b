import KnapJSON
import TestSupport
import Testing

@testable import KnapHost

@Suite("The journal of replacements")
struct StandingTests {
    private let one = Content(digest: SHA256.digest([1]), schema: 0)
    private let two = Content(digest: SHA256.digest([2]), schema: 1)
    private let three = Content(digest: SHA256.digest([3]), schema: 1)

    private func standing(_ steps: [(ReplacementStep.Kind, Content?, Content)]) -> Standing {
        var standings = Standings()
        for (kind, from, to) in steps {
            standings.apply(ReplacementStep(kind: kind, changes: [Change(name: "a", from: from, to: to)]))
        }
        return standings.byName["a"] ?? Standing()
    }

    @Test("what was started runs for good, with nothing to return to")
    func started() {
        let standing = standing([(.started, nil, one)])
        #expect(standing == Standing(content: one))
        #expect(standing.serving("a") == one)
    }

    @Test(
        "an upgrade that has not come to its end leaves the old content",
        arguments: [ReplacementStep.Kind.replacing, .switching, .switched, .returning])
    func trial(kind: ReplacementStep.Kind) {
        let standing = standing([(.started, nil, one), (kind, one, two)])
        #expect(standing.content == one)
        #expect(standing.trial?.kind == kind)
        // Only what was switched to has served.
        #expect(standing.serving("a") == (kind == .switched ? two : one))
    }

    @Test("a committed upgrade can be returned from once, an ended one never was")
    func ends() {
        let committed = standing([(.started, nil, one), (.switched, one, two), (.committed, one, two)])
        #expect(committed == Standing(content: two, previous: one))
        let back = standing([(.started, nil, one), (.committed, one, two), (.committed, two, one)])
        #expect(back == Standing(content: one, previous: two))
        let ended = standing([(.started, nil, one), (.switched, one, two), (.returning, one, two), (.ended, one, two)])
        #expect(ended == Standing(content: one))
        let removed = standing([(.started, nil, one), (.removed, nil, one)])
        #expect(removed == Standing())
    }

    @Test("every step survives being written and read")
    func json() {
        for kind in ReplacementStep.Kind.allCases {
            let step = ReplacementStep(
                kind: kind,
                changes: [
                    Change(name: "a", from: one, to: two, hasCheckpoint: true, file: "/x/a.so"), Change(name: "b", to: three),
                ])
            #expect(ReplacementStep(step.json) == step)
        }
        for bad: JSON in [[:], ["step": "lost", "plugins": []], ["step": "started", "plugins": []], ["step": "started"]] {
            #expect(ReplacementStep(bad) == nil)
        }
    }

    @Test("the shortest journal says the same as the whole one", arguments: 0..<50 as Range<UInt64>)
    func compaction(seed: UInt64) {
        var dice = SeededGenerator(seed: seed)
        let names = ["a", "b", "c"], contents = [one, two, three]
        var standings = Standings()
        for _ in 0..<60 {
            let changes = names.shuffled(using: &dice).prefix(.random(in: 1...3, using: &dice)).map { name in
                Change(
                    name: name, from: standings.byName[name]?.content ?? contents.randomElement(using: &dice),
                    to: contents.randomElement(using: &dice) ?? one, hasCheckpoint: Bool.random(using: &dice))
            }
            let kind = ReplacementStep.Kind.allCases.randomElement(using: &dice) ?? .ended
            standings.apply(ReplacementStep(kind: kind, changes: changes))
            // Plugins that are replaced together come to their ends together; a part of a group is no state of the host's.
            guard standings.trials.allSatisfy({ trial in trial.changes.allSatisfy { standings.byName[$0.name]?.trial == trial } })
            else { continue }
            var again = Standings()
            for step in standings.steps { again.apply(step) }
            let known = standings.byName.filter { $0.value != Standing() }
            #expect(again.byName == known, "seed \(seed)")
        }
    }

    @Test("the log is found again by the next host, and what is no step is an error that names the line")
    func log() throws {
        let scratch = try Scratch()
        do {
            let log = try ReplacementLog(directory: scratch.path)
            try log.record(ReplacementStep(kind: .started, changes: [Change(name: "a", to: one)]))
            try log.record(ReplacementStep(kind: .switching, changes: [Change(name: "a", from: one, to: two)]))
        }
        let log = try ReplacementLog(directory: scratch.path)
        #expect(log.standing(of: "a").trial?.kind == .switching)
        for number in 0..<1500 {
            let change = Change(name: "a", from: one, to: number % 2 == 0 ? two : three)
            try log.record(ReplacementStep(kind: .switched, changes: [change]))
        }
        #expect(try ReplacementLog(directory: scratch.path).standing(of: "a") == log.standing(of: "a"))
        try write("{\"step\":\"lost\"}\n", to: scratch.path + "/replacements.jsonl")
        let error = #expect(throws: StoreError.self) { _ = try ReplacementLog(directory: scratch.path) }
        #expect(error?.message.contains("replacements.jsonl:1") == true)
    }
}
