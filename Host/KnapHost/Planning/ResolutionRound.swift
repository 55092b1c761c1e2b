/// One round of the resolution, over one version of each plugin.
struct ResolutionRound {
    /// Why a nominee is out of this round.
    struct Outcome {
        var code: Omission.Code
        var message: String
        var chain: [String]
        /// Who was chosen instead.
        var rival: String?
        /// It cannot run whatever is chosen for the others.
        var isFinal = false
    }

    private struct Offering {
        let position: Int
        let version: Version
        let isFallback: Bool
    }

    private typealias Need = (position: Int, versions: VersionRange)

    let nominees: [Nominee]
    private(set) var outcomes: [Outcome?]
    /// Service to the position of the one that serves it.
    private(set) var provider: [String: Int] = [:]
    /// Service to the positions of those that stand in for that one.
    private(set) var standIns: [String: [Int]] = [:]
    /// Who has somebody to serve in its place when it cannot run.
    private(set) var replaceable: Set<Int> = []

    private let preferred: [String: String]
    private let chains: [String: [String]]
    private var position: [String: Int] = [:]
    /// Every nominee that offers a service, in the order of names.
    private var offers: [String: [Offering]] = [:]
    private var requirers: [String: [Need]] = [:]
    /// Those that offered a service and are lost already.
    private var absent: [String: Omission] = [:]
    /// Who was chosen over somebody else, and so falls for good when it cannot run.
    private(set) var winners: Set<Int> = []

    init(
        _ nominees: [Nominee], preferred: [String: String], lost: [(nominee: Nominee, omission: Omission)],
        chains: [String: [String]]
    ) {
        self.nominees = nominees
        self.preferred = preferred
        self.chains = chains
        outcomes = Array(repeating: nil, count: nominees.count)
        for (index, nominee) in nominees.enumerated() {
            position[nominee.name] = index
            for offer in nominee.manifest.provides {
                offers[offer.service, default: []].append(
                    Offering(position: index, version: offer.version, isFallback: offer.isFallback))
            }
            for need in nominee.manifest.requires {
                requirers[need.service, default: []].append((index, need.versions))
            }
        }
        for (nominee, omission) in lost {
            for offer in nominee.manifest.provides where absent[offer.service] == nil {
                absent[offer.service] = omission
            }
        }
    }

    mutating func run() {
        settleConflicts()
        chooseProviders()
        dropWithoutRequirements()
        dropCycles()
    }

    func omission(_ position: Int, _ outcome: Outcome) -> Omission {
        nominees[position].omission(outcome.code, outcome.message, chain: outcome.chain)
    }
}

// MARK: Conflicts

extension ResolutionRound {
    /// Of two that exclude each other stays the one that runs, else the one that came with Knap, else the one that does
    /// not name the other, else the first name.
    private mutating func settleConflicts() {
        for (index, nominee) in nominees.enumerated() {
            for name in nominee.manifest.conflicts {
                guard let other = position[name], outcomes[index] == nil, outcomes[other] == nil else { continue }
                let stays = precedence(of: other, over: index) ? other : index
                let leaves = stays == other ? index : other
                let reason = nominees[stays].isRunning ? "runs already" : "comes first"
                let message =
                    "it conflicts with '\(nominees[stays].name)' (\(nominees[stays].source)), which \(reason); "
                    + "disable one of the two"
                let chain = ["\(nominee.name) conflicts with \(name)"]
                outcomes[leaves] = Outcome(
                    code: .conflict, message: message, chain: chain, rival: nominees[stays].name)
                winners.insert(stays)
            }
        }
    }

    private func precedence(of left: Int, over right: Int) -> Bool {
        let (a, b) = (nominees[left], nominees[right])
        if a.isRunning != b.isRunning { return a.isRunning }
        if a.isBuiltIn != b.isBuiltIn { return a.isBuiltIn }
        let isMutual = a.manifest.conflicts.contains(b.name) && b.manifest.conflicts.contains(a.name)
        return isMutual ? a.name < b.name : b.manifest.conflicts.contains(a.name)
    }
}

// MARK: Providers

extension ResolutionRound {
    private mutating func chooseProviders() {
        for service in offers.keys.sorted() {
            let contenders = (offers[service] ?? []).filter { outcomes[$0.position] == nil }
            let needs = (requirers[service] ?? []).filter { outcomes[$0.position] == nil }
            let main = contenders.filter { !$0.isFallback }
            // Who stands in for nobody serves alone.
            guard let best = best(of: main.isEmpty ? contenders : main, service, needs) else { continue }
            provider[service] = best.position
            if main.count > 1 { winners.insert(best.position) }
            for other in contenders where other.position != best.position {
                if other.isFallback, suit(other.version, best.version) {
                    standIns[service, default: []].append(other.position)
                    replaceable.insert(best.position)
                } else {
                    outcomes[other.position] = left(service, other, to: best)
                }
            }
        }
    }

    private func best(of contenders: [Offering], _ service: String, _ needs: [Need]) -> Offering? {
        contenders.dropFirst().reduce(contenders.first) { best, next in
            best.map { isBetter(next, than: $0, service, needs) ? next : $0 }
        }
    }

    /// Whether callers of the one version can be served by the other.
    private func suit(_ left: Version, _ right: Version) -> Bool {
        VersionRange(compatibleWith: min(left, right)).contains(max(left, right))
    }

    private func left(_ service: String, _ loser: Offering, to best: Offering) -> Outcome {
        let (name, winner) = (nominees[loser.position].name, nominees[best.position])
        let reason =
            loser.isFallback
            ? "and its own version cannot stand in for that one; provide a compatible version, or disable one of them"
            : "because a service has one provider; disable that one, or prefer '\(name)' for '\(service)' in the configuration"
        return Outcome(
            code: .serviceTaken,
            message: "'\(service)' \(loser.version) is left to \(winner.name) \(best.version) (\(winner.source)), \(reason)",
            chain: ["\(winner.name) provides \(service) \(best.version)"], rival: winner.name)
    }

    private func isBetter(_ left: Offering, than right: Offering, _ service: String, _ needs: [Need]) -> Bool {
        let (a, b) = (nominees[left.position], nominees[right.position])
        if let choice = preferred[service], (a.name == choice) != (b.name == choice) { return a.name == choice }
        let suited = { (version: Version) in needs.count { $0.versions.contains(version) } }
        let (suitedLeft, suitedRight) = (suited(left.version), suited(right.version))
        if suitedLeft != suitedRight { return suitedLeft > suitedRight }
        if left.version != right.version { return left.version > right.version }
        if a.isBuiltIn != b.isBuiltIn { return a.isBuiltIn }
        return a.name < b.name
    }
}

// MARK: Requirements

extension ResolutionRound {
    private mutating func dropWithoutRequirements() {
        var fallen: [Int] = []
        for (index, nominee) in nominees.enumerated() where outcomes[index] == nil {
            guard let outcome = firstFailure(index, nominee.manifest.requires) else { continue }
            outcomes[index] = outcome
            fallen.append(index)
        }
        var head = 0
        while head < fallen.count {
            let lostProvider = fallen[head]
            head += 1
            for offer in nominees[lostProvider].manifest.provides where provider[offer.service] == lostProvider {
                for need in requirers[offer.service] ?? [] where outcomes[need.position] == nil {
                    let requirement = Requirement(service: offer.service, versions: need.versions)
                    outcomes[need.position] = cascade(need.position, requirement, from: lostProvider)
                    fallen.append(need.position)
                }
            }
        }
    }

    private func firstFailure(_ index: Int, _ requirements: [Requirement]) -> Outcome? {
        for requirement in requirements {
            if let outcome = failure(index, requirement) { return outcome }
        }
        return nil
    }

    private func failure(_ index: Int, _ requirement: Requirement) -> Outcome? {
        guard let serving = provider[requirement.service] else { return noProvider(index, requirement) }
        if outcomes[serving] != nil { return cascade(index, requirement, from: serving) }
        let version = offers[requirement.service]?.first { $0.position == serving }?.version
        guard let version, !requirement.versions.contains(version) else { return nil }
        return wrongVersion(index, requirement, serving: serving, version: version)
    }

    private func noProvider(_ index: Int, _ requirement: Requirement) -> Outcome {
        let name = nominees[index].name
        if let offer = offers[requirement.service]?.first { return cascade(index, requirement, from: offer.position) }
        if let omission = absent[requirement.service] {
            let chain = omission.chain.isEmpty ? ["\(omission.plugin): \(omission.message)"] : omission.chain
            return cascade(index, requirement, provider: omission.plugin, chain: chain)
        }
        // A thousand plugins without their service must not be compared with a thousand services each.
        let hint = offers.count <= 256 ? NearestMatch.hint(requirement.service, among: offers.keys.sorted()) : ""
        let cause = "no plugin provides '\(requirement.service)'\(hint)"
        return Outcome(
            code: .missingDependency,
            message: "it requires '\(requirement)', but \(cause); add one or disable this one",
            chain: ["\(name) requires \(requirement)", cause], isFinal: true)
    }

    private func cascade(_ index: Int, _ requirement: Requirement, from lost: Int) -> Outcome {
        let cause = outcomes[lost]
        let chain = cause.map { $0.code == .dependencyLeftOut || $0.chain.count > 1 ? $0.chain : [$0.message] } ?? []
        return cascade(index, requirement, provider: nominees[lost].name, chain: chain)
    }

    private func cascade(_ index: Int, _ requirement: Requirement, provider: String, chain: [String]) -> Outcome {
        let message =
            "it requires '\(requirement)' of '\(provider)', which is left out: "
            + chain.joined(separator: "; ")
        // The ends of a long chain say what is needed: what this plugin wants and what is at the bottom of it.
        let rest = chain.count < 10 ? chain : chain.prefix(7) + ["…"] + chain.suffix(1)
        let link = "\(nominees[index].name) requires \(requirement) of \(provider)"
        return Outcome(code: .dependencyLeftOut, message: message, chain: [link] + rest)
    }

    private func wrongVersion(_ index: Int, _ requirement: Requirement, serving: Int, version: Version) -> Outcome {
        let service = requirement.service
        let all = offers[service] ?? []
        let there = all.map { "\($0.version) of \(nominees[$0.position].name) (\(nominees[$0.position].source))" }
            .joined(separator: ", ")
        let mine = chain(to: index) + " requires \(requirement)"
        guard all.contains(where: { requirement.versions.contains($0.version) }) else {
            return Outcome(
                code: .versionMismatch, message: "it requires '\(requirement)', but there is only \(service) \(there)",
                chain: [mine, "there is only \(service) \(there)"], isFinal: true)
        }
        let rival = (requirers[service] ?? []).first { outcomes[$0.position] == nil && $0.versions.contains(version) }
        let theirs =
            rival.map { "\(chain(to: $0.position)) requires \(service) \($0.versions)" }
            ?? "the configuration or the highest version decides for \(service) \(version)"
        return Outcome(
            code: .versionConflict,
            message: "two versions of '\(service)' are required, but a service has one provider, "
                + "\(nominees[serving].name) \(version): \(mine); \(theirs); there are \(there)",
            chain: [mine, theirs], isFinal: true)
    }

    /// How a plugin came to be in the plan.
    private func chain(to index: Int) -> String {
        (chains[nominees[index].name] ?? [nominees[index].name]).joined(separator: " → ")
    }
}

// MARK: Cycles

extension ResolutionRound {
    private mutating func dropCycles() {
        var graph = DependencyGraph(count: nominees.count)
        for (index, nominee) in nominees.enumerated() where outcomes[index] == nil {
            for requirement in nominee.manifest.requires {
                if let serving = provider[requirement.service] { graph.addEdge(from: index, to: serving) }
            }
        }
        for component in graph.components() where component.count > 1 {
            let links = links(of: graph.cycle(in: component))
            let message =
                "it can never start, because its requirements lead back to themselves: "
                + links.joined(separator: "; ") + "; make one of them optional"
            for index in component {
                outcomes[index] = Outcome(code: .cycle, message: message, chain: links, isFinal: true)
            }
        }
    }

    /// `a requires y of b`, `b requires x of a`.
    private func links(of cycle: [Int]) -> [String] {
        cycle.enumerated().map { offset, index in
            let next = cycle[(offset + 1) % cycle.count]
            let service = nominees[index].manifest.requires.first { provider[$0.service] == next }
            return "\(nominees[index].name) requires \(service?.service ?? "a service") of \(nominees[next].name)"
        }
    }
}
