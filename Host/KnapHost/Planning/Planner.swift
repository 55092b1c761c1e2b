/// Decides which plugins run and in which order, without doing anything.
///
/// A broken plugin and those that need it are left out, each with its reason; the rest is planned. Equal input gives an
/// equal plan, whatever the order of the lists in it.
package enum Planner {
    package static func plan(_ input: PlanInput) -> Plan {
        var input = input
        var heldBack: [Omission] = []
        while true {
            var plan = planOnce(input)
            // Each round holds back one more, so there are only so many.
            guard let harm = Harm(of: plan, input), input.keepRunning(harm.upgrade) else {
                plan.omissions = (plan.omissions + heldBack).sorted(by: inOrder)
                return plan
            }
            heldBack.append(harm.omission)
        }
    }

    private static func planOnce(_ input: PlanInput) -> Plan {
        let resolution = Resolution(Nomination(input), input: input)
        let target = TargetGraph(resolution)
        var plan = Plan()
        plan.starts = startWaves(resolution, target.graph, running: input.running)
        plan.stops = stopWaves(input, resolution)
        plan.kept = resolution.members.filter(\.isRunning).map(\.name).sorted()
        plan.omissions = omissions(resolution)
        plan.notes = target.notes.sorted()
        plan.providers = resolution.providers.mapValues { resolution.members[$0].name }
        return plan
    }

    private static func startWaves(
        _ resolution: Resolution, _ graph: DependencyGraph, running: [RunningPlugin]
    ) -> [[Step]] {
        let old = Dictionary(running.map { ($0.manifest.name, $0.manifest.version) }) { first, _ in first }
        return graph.waves { !resolution.members[$0].isRunning }.map { wave in
            wave.map { index in
                let member = resolution.members[index]
                return step(old[member.name].map { .replace(old: $0) } ?? .start, member)
            }.sorted { $0.plugin < $1.plugin }
        }
    }

    /// Dependants first: the waves of a start of all that runs, backwards.
    private static func stopWaves(_ input: PlanInput, _ resolution: Resolution) -> [[Step]] {
        let staying = Set(resolution.members.map(\.name))
        let running = input.running.map { Nominee($0) }.sorted { $0.name < $1.name }
        let reasons = Dictionary(resolution.omissions.map { ($0.plugin, $0.message) }) { first, _ in first }
        let waves = TargetGraph(running: running).graph.waves { !staying.contains(running[$0].name) }
        return waves.reversed().map { wave in
            wave.map { index in
                let nominee = running[index]
                return step(.stop(reason: reasons[nominee.name] ?? "it was removed"), nominee)
            }.sorted { $0.plugin < $1.plugin }
        }
    }

    private static func step(_ action: Step.Action, _ nominee: Nominee) -> Step {
        Step(
            action: action, plugin: nominee.name, version: nominee.manifest.version, identity: nominee.identity,
            source: nominee.source, isolation: nominee.isolation)
    }

    private static func omissions(_ resolution: Resolution) -> [Omission] {
        let running = Dictionary(resolution.members.filter(\.isRunning).map { ($0.name, $0.manifest.version) }) {
            a, _ in a
        }
        return resolution.omissions.map { omission in
            var omission = omission
            omission.stillRunning = running[omission.plugin]
            return omission
        }.sorted(by: inOrder)
    }

    private static func inOrder(_ a: Omission, _ b: Omission) -> Bool {
        (a.plugin, a.source, a.code.rawValue) < (b.plugin, b.source, b.code.rawValue)
    }
}

/// The order between plugins that run together: what is required first, what is optional first where that is possible.
struct TargetGraph {
    private(set) var graph: DependencyGraph
    private(set) var notes: [String] = []

    init(_ resolution: Resolution) {
        self.init(resolution.members) { resolution.providers[$0] } standIns: { resolution.standIns[$0] ?? [] }
    }

    /// For plugins that run already, whatever led to that.
    init(running: [Nominee]) {
        var main: [String: Int] = [:]
        var standIns: [String: [Int]] = [:]
        for (index, nominee) in running.enumerated() {
            for offer in nominee.manifest.provides {
                if offer.isFallback { standIns[offer.service, default: []].append(index) }
                else if main[offer.service] == nil { main[offer.service] = index }
            }
        }
        self.init(running) { main[$0] ?? standIns[$0]?.first } standIns: { standIns[$0] ?? [] }
    }

    private init(_ members: [Nominee], provider: (String) -> Int?, standIns: (String) -> [Int]) {
        graph = DependencyGraph(count: members.count)
        for (index, member) in members.enumerated() {
            for requirement in member.manifest.requires {
                if let serving = provider(requirement.service) { graph.addEdge(from: index, to: serving) }
            }
        }
        let optional = optionalEdges(members, provider) + standInEdges(members, provider, standIns)
        guard !optional.isEmpty else { return }
        addWithoutCycles(optional, members)
    }

    private mutating func optionalEdges(_ members: [Nominee], _ provider: (String) -> Int?) -> [(from: Int, to: Int)] {
        var edges: [(from: Int, to: Int)] = []
        for (index, member) in members.enumerated() {
            for requirement in member.manifest.optional {
                guard let serving = provider(requirement.service), serving != index else { continue }
                let version = members[serving].manifest.provides(requirement.service)?.version
                if let version, requirement.versions.contains(version) {
                    edges.append((index, serving))
                } else if let version {
                    notes.append(
                        "\(member.name) would use \(requirement), but \(members[serving].name) provides \(version)")
                }
            }
        }
        return edges
    }

    /// Who stands in for a provider is there before those that may need it, and goes after them, where that is possible.
    private func standInEdges(
        _ members: [Nominee], _ provider: (String) -> Int?, _ standIns: (String) -> [Int]
    ) -> [(from: Int, to: Int)] {
        var edges: [(from: Int, to: Int)] = []
        for (index, member) in members.enumerated() {
            for requirement in member.manifest.requires + member.manifest.optional {
                for standIn in standIns(requirement.service) where standIn != index && standIn != provider(requirement.service) {
                    edges.append((index, standIn))
                }
            }
        }
        return edges
    }

    /// An optional dependency that closes a circle says nothing about the order.
    private mutating func addWithoutCycles(_ optional: [(from: Int, to: Int)], _ members: [Nominee]) {
        var whole = graph
        for edge in optional { whole.addEdge(from: edge.from, to: edge.to) }
        var component = Array(repeating: 0, count: members.count)
        for (number, nodes) in whole.components().enumerated() {
            for node in nodes { component[node] = number }
        }
        for (from, to) in optional {
            if component[from] != component[to] {
                graph.addEdge(from: from, to: to)
            } else {
                notes.append(
                    "\(members[from].name) may start before \(members[to].name), which it uses if it is there: "
                        + "their dependencies form a circle")
            }
        }
    }
}
