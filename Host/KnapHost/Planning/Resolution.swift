/// Finds which of the nominees can run together.
///
/// A round chooses one provider for each service and sees who is left without what it requires. Who cannot run whatever
/// the others do falls out for good, together with its version, and another round begins; so each round has fewer versions
/// than the one before and the end is certain. Who is out only because of a choice is considered again in the next round.
///
/// One service has one provider. Of several: the one the operator prefers, else the one that suits the most plugins that
/// require the service, else the highest version of the service, else the one that came with Knap, else the first name.
/// Those whose manifest says `fallback` run besides, to stand in for it; without it one of them serves alone.
struct Resolution {
    private let choices: [[Nominee]]
    private let preferred: [String: String]
    /// Which of its choices each name is at; past the last one it is out.
    private var choice: [Int]
    /// Who fell out for good, in the order of falling.
    private var lost: [(nominee: Nominee, omission: Omission)]

    /// Who fell only because somebody else was chosen.
    private var displaced: [Displaced] = []
    private var reprieved: Set<String> = []

    private struct Displaced {
        let index: Int
        let choice: Int
        let rival: String
    }

    private(set) var members: [Nominee] = []
    private(set) var omissions: [Omission] = []
    /// Service to the index of the member that serves it.
    private(set) var providers: [String: Int] = [:]
    /// Service to the indexes of the members that stand in for that one.
    private(set) var standIns: [String: [Int]] = [:]

    init(_ nomination: Nomination, input: PlanInput) {
        choices = nomination.choices
        preferred = input.preferredProviders
        choice = Array(repeating: 0, count: choices.count)
        lost = nomination.refused
        let wanted = WantedClosure(choices, input.wanted)
        for (index, isWanted) in wanted.includes.enumerated() where !isWanted {
            choice[index] = choices[index].count
            let nominee = choices[index][0]
            lost.append((nominee, nominee.omission(.notWanted, WantedClosure.notWanted)))
        }
        resolve(wanted)
        omissions += nomination.unknown
    }

    private mutating func resolve(_ wanted: WantedClosure) {
        while true {
            let contenders = choices.indices.filter { choice[$0] < choices[$0].count }
            let nominees = contenders.map { choices[$0][choice[$0]] }
            var round = ResolutionRound(nominees, preferred: preferred, lost: lost, chains: wanted.chains)
            round.run()
            let fallen = fallen(round, contenders)
            if fallen.isEmpty && !reprieve(round) { return finish(round, wanted) }
            for (position, outcome) in fallen {
                if let rival = outcome.rival {
                    displaced.append(
                        Displaced(index: contenders[position], choice: choice[contenders[position]], rival: rival))
                }
                lost.append((nominees[position], round.omission(position, outcome)))
                choice[contenders[position]] += 1
            }
        }
    }

    /// Who falls out of the next round. The surest first, for the fall of one can bring back another: who cannot run
    /// whatever the others do; then who has somebody to stand in for it; then who displaced somebody and was displaced
    /// itself; then who has a version that runs, which is better than a new one that cannot.
    private func fallen(_ round: ResolutionRound, _ contenders: [Int]) -> [(Int, ResolutionRound.Outcome)] {
        let out = round.outcomes.enumerated().compactMap { position, outcome in outcome.map { (position, $0) } }
        let certain = out.filter { $0.1.isFinal }
        if !certain.isEmpty { return certain }
        let replaced = out.filter { round.replaceable.contains($0.0) }
        if !replaced.isEmpty { return replaced }
        let displaced = out.filter { round.winners.contains($0.0) }
        if !displaced.isEmpty { return displaced }
        return out.filter { choice[contenders[$0.0]] + 1 < choices[contenders[$0.0]].count }
    }

    /// Gives those a second chance, one each, who fell for a rival that fell later. True when there are any.
    private mutating func reprieve(_ round: ResolutionRound) -> Bool {
        let serving = Set(round.nominees.indices.filter { round.outcomes[$0] == nil }.map { round.nominees[$0].name })
        let returning = displaced.filter { !serving.contains($0.rival) }
        displaced.removeAll { !serving.contains($0.rival) }
        for fallen in returning where reprieved.insert(choices[fallen.index][fallen.choice].identity).inserted {
            choice[fallen.index] = fallen.choice
            let identity = choices[fallen.index][fallen.choice].identity
            lost.removeAll { $0.nominee.identity == identity }
        }
        return !returning.isEmpty
    }

    private mutating func finish(_ round: ResolutionRound, _ wanted: WantedClosure) {
        var indexes: [Int: Int] = [:]
        omissions = lost.map(\.omission)
        let needed = wanted.needed(in: round)
        for (position, nominee) in round.nominees.enumerated() {
            if let outcome = round.outcomes[position] {
                omissions.append(round.omission(position, outcome))
            } else if !needed[position] {
                omissions.append(nominee.omission(.notWanted, WantedClosure.notWanted))
            } else {
                indexes[position] = members.count
                members.append(nominee)
            }
        }
        providers = round.provider.compactMapValues { indexes[$0] }
        standIns = round.standIns.mapValues { $0.compactMap { indexes[$0] } }
    }
}

/// What is wanted, with everything it could require, and how each got in.
struct WantedClosure {
    static let notWanted = "nothing that is wanted requires it"

    private(set) var includes: [Bool]
    /// From a wanted plugin to each included one, by names.
    private(set) var chains: [String: [String]] = [:]

    private let wanted: Wanted

    init(_ choices: [[Nominee]], _ wanted: Wanted) {
        self.wanted = wanted
        guard case .only(let names) = wanted else {
            includes = Array(repeating: true, count: choices.count)
            return
        }
        includes = choices.map { names.contains($0[0].name) }
        var providers: [String: [Int]] = [:]
        for (index, nominees) in choices.enumerated() {
            for service in Set(nominees.flatMap { $0.manifest.provides.map(\.service) }) {
                providers[service, default: []].append(index)
            }
        }
        var queue = includes.indices.filter { includes[$0] }
        for index in queue { chains[choices[index][0].name] = [choices[index][0].name] }
        var head = 0
        while head < queue.count {
            let nominees = choices[queue[head]]
            head += 1
            let chain = chains[nominees[0].name] ?? []
            for requirement in nominees.flatMap(\.manifest.requires) {
                for index in providers[requirement.service] ?? [] where !includes[index] {
                    includes[index] = true
                    // Long chains say no more than their ends do.
                    if chain.count < 16 { chains[choices[index][0].name] = chain + [choices[index][0].name] }
                    queue.append(index)
                }
            }
        }
    }

    /// Now that every service has its provider: who is required, step by step, by something wanted.
    func needed(in round: ResolutionRound) -> [Bool] {
        guard case .only(let names) = wanted else { return Array(repeating: true, count: round.nominees.count) }
        var needed = round.nominees.indices.map { round.outcomes[$0] == nil && names.contains(round.nominees[$0].name) }
        var queue = needed.indices.filter { needed[$0] }
        while let position = queue.popLast() {
            for requirement in round.nominees[position].manifest.requires {
                let standIns = round.standIns[requirement.service] ?? []
                for server in [round.provider[requirement.service]].compactMap({ $0 }) + standIns
                where !needed[server] && round.outcomes[server] == nil {
                    needed[server] = true
                    queue.append(server)
                }
            }
        }
        return needed
    }
}
