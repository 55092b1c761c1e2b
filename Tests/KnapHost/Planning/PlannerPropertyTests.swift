import TestSupport
import Testing

@testable import KnapHost

@Suite("Whatever the plugins are, a plan")
struct PlannerPropertyTests {
    /// Plugins that require, use, provide and exclude each other at random.
    private static func input(seed: Int) throws -> PlanInput {
        var generator = SeededGenerator(seed: UInt64(seed))
        func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &generator) == 0 }
        func some(_ count: Int, _ make: (Int) -> String) -> [String] {
            Array(
                Set(
                    (0..<Int.random(in: 0...count, using: &generator)).map { _ in
                        make(Int.random(in: 0..<20, using: &generator))
                    })
            ).sorted()
        }
        func make(_ name: String, _ version: String) throws -> Candidate {
            var candidate = try plugin(
                name, version, needs: some(2) { "s\($0)" }, uses: some(1) { "s\($0)" },
                offers: some(2) { "s\($0) 1.\($0 % 3).0" }, conflicts: chance(8) ? some(1) { "p\($0)" } : [])
            let own = Set(candidate.manifest.provides.map(\.service))
            candidate.manifest.requires.removeAll { own.contains($0.service) }
            candidate.manifest.optional.removeAll { own.contains($0.service) }
            for index in candidate.manifest.provides.indices { candidate.manifest.provides[index].isFallback = chance(3) }
            candidate.isEnabled = !chance(10)
            candidate.isBuiltIn = chance(3)
            if chance(10) { candidate.missingGrants = ["environment HOME"] }
            if chance(12) { candidate.quarantine = "crashed" }
            return candidate
        }
        let count = Int.random(in: 0...20, using: &generator)
        var input = PlanInput()
        for index in 0..<count {
            let candidate = try make("p\(index)", "1.0.0")
            if chance(3) { input.running.append((chance(2) ? candidate : try make("p\(index)", "0.9.0")).running) }
            if !chance(8) { input.candidates.append(candidate) }
            if chance(12) { input.candidates.append(try make("p\(index)", "1.5.0")) }
        }
        if chance(3) { input.wanted = .only(Set(some(5) { "p\($0)" })) }
        return input
    }

    @Test("names every candidate exactly once: as kept, to be started, or left out", arguments: 0..<400)
    func nothingIsLost(seed: Int) throws {
        let input = try Self.input(seed: seed)
        let plan = Planner.plan(input)
        var named: [String: Int] = [:]
        let started = plan.starts.flatMap { $0 }
        for step in started { named[step.identity, default: 0] += 1 }
        for name in plan.kept {
            let identity = try #require(input.running.first { $0.manifest.name == name }?.identity)
            named[identity, default: 0] += 1
        }
        for omission in plan.omissions where omission.version != nil {
            #expect(!omission.message.isEmpty)
            named["\(omission.plugin)-\(omission.version?.description ?? "")-\(omission.source)", default: 0] += 1
        }
        for candidate in input.candidates {
            #expect(named[candidate.identity] == 1, "seed \(seed): \(candidate.identity)")
        }
        let stopped = plan.stops.flatMap { $0 }.map(\.plugin)
        for plugin in input.running.map(\.manifest.name) {
            let fates = [
                plan.kept.contains(plugin), started.contains { $0.plugin == plugin }, stopped.contains(plugin),
            ]
            #expect(fates.count { $0 } == 1, "seed \(seed): \(plugin) \(fates)")
        }
    }

    @Test("gives every plugin what it requires, and gives it first", arguments: 0..<400)
    func order(seed: Int) throws {
        let input = try Self.input(seed: seed)
        let plan = Planner.plan(input)
        var wave: [String: Int] = [:]
        for name in plan.kept { wave[name] = -1 }
        for (number, steps) in plan.starts.enumerated() { for step in steps { wave[step.plugin] = number } }
        let started = Set(plan.starts.flatMap { $0 }.map(\.identity))
        let manifests =
            input.candidates.filter { started.contains($0.identity) }.map(\.manifest)
            + input.running.filter { plan.kept.contains($0.manifest.name) }.map(\.manifest)
        for manifest in manifests {
            for requirement in manifest.requires {
                let name = try #require(
                    plan.providers[requirement.service], "seed \(seed): \(manifest.name) \(requirement)")
                let provider = try #require(manifests.first { $0.name == name }, "seed \(seed)")
                #expect(requirement.versions.contains(try #require(provider.provides(requirement.service)).version))
                let own = try #require(wave[manifest.name])
                if own >= 0 { #expect(try #require(wave[name]) < own, "seed \(seed): \(manifest.name) needs \(name)") }
            }
            for other in manifest.conflicts { #expect(wave[other] == nil, "seed \(seed): \(manifest.name), \(other)") }
        }
    }

    @Test("stops all that it started in exactly the reverse order", arguments: 0..<200)
    func reverse(seed: Int) throws {
        var input = try Self.input(seed: seed)
        input.running = []
        let start = Planner.plan(input)
        let started = Set(start.starts.flatMap { $0 }.map(\.identity))
        let running = input.candidates.filter { started.contains($0.identity) }
        let stop = Planner.plan(PlanInput(input.candidates, running: running, wanted: .only([])))
        #expect(stop.stopNames == start.startNames.reversed(), "seed \(seed)")
    }

    @Test("is the same whatever order its input has", arguments: 0..<200)
    func deterministic(seed: Int) throws {
        var input = try Self.input(seed: seed)
        let plan = Planner.plan(input)
        var generator = SeededGenerator(seed: UInt64(seed))
        input.candidates.shuffle(using: &generator)
        input.running.shuffle(using: &generator)
        #expect(Planner.plan(input) == plan, "seed \(seed)")
    }

    @Test("is final: when it is carried out from nothing there is nothing left to do", arguments: 0..<1000)
    func final(seed: Int) throws {
        var input = try Self.input(seed: seed)
        input.running = []
        let started = Set(Planner.plan(input).starts.flatMap { $0 }.map(\.identity))
        input.running = input.candidates.filter { started.contains($0.identity) }.map(\.running)
        let next = Planner.plan(input)
        #expect(next.isEmpty, "seed \(seed): \(next.text)")
    }

    @Test(
        "of ten thousand plugins is made, whatever their shape", .timeLimit(.minutes(5)),
        arguments: ["chain", "random", "broken chain", "one cycle", "all alone"])
    func scale(shape: String) throws {
        let count = 10_000
        var generator = SeededGenerator(seed: 7)
        let candidates = try (0..<count).map { index in
            let needs: [String]
            switch shape {
            case "chain": needs = index == 0 ? [] : ["s\(index - 1) ^1"]
            case "broken chain": needs = ["s\(index - 1) ^1"].map { index == 0 ? "gone" : $0 }
            case "one cycle": needs = ["s\((index + count - 1) % count) ^1"]
            case "random":
                needs =
                    index == 0
                    ? [] : Set((0..<3).map { _ in "s\(Int.random(in: 0..<index, using: &generator))" }).sorted()
            default: needs = ["gone\(index)"]
            }
            return try plugin("p\(index)", needs: needs, offers: ["s\(index) 1.0.0"])
        }
        let plan = Planner.plan(PlanInput(candidates))
        #expect(plan.starts.flatMap { $0 }.count + plan.omissions.count == count)
    }
}
