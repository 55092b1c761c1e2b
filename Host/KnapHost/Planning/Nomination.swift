/// Chooses for every name the versions that may run, best first, by what each candidate alone allows.
///
/// An upgrade that cannot run must not take down what runs: the running version is its second choice.
struct Nomination {
    /// Sorted by name; none of the lists is empty.
    private(set) var choices: [[Nominee]] = []
    private(set) var refused: [(nominee: Nominee, omission: Omission)] = []
    /// Names that are wanted and nowhere to be found.
    private(set) var unknown: [Omission] = []

    init(_ input: PlanInput) {
        let running = Dictionary(input.running.map { ($0.manifest.name, $0) }) { first, _ in first }
        let byName = Dictionary(grouping: input.candidates, by: \.manifest.name)
        for name in byName.keys.sorted() {
            nominate(byName[name] ?? [], running: running[name])
        }
        refuseUnknown(input.wanted, known: byName.keys.sorted())
    }

    private mutating func nominate(_ candidates: [Candidate], running: RunningPlugin?) {
        var choices: [Nominee] = []
        let earlier = refused.count
        if let candidate = single(candidates, running: running) {
            let isSameContent = candidate.identity == running?.identity
            let isRunning = isSameContent && candidate.isolation == running?.isolation
            let nominee = Nominee(candidate, isRunning: isRunning)
            guard candidate.isEnabled else {
                let enable = "'knap plugins enable \(nominee.name)' lets it start"
                refused.append((nominee, nominee.omission(.disabled, "it is disabled; \(enable)")))
                return
            }
            if let omission = refusal(of: candidate, nominee) {
                refused.append((nominee, omission))
                // The very content that runs may no longer do so. (Whether its signature still lets it is known of what runs:
                // the same content may have come again without the signature.)
                if isSameContent, omission.code != .signatureRefused { return }
            } else {
                choices.append(nominee)
            }
        }
        if let running, choices.first?.isRunning != true {
            // A move that fails must leave what runs.
            let nominee = Nominee(running, moves: choices.first?.identity != running.identity)
            if let reason = running.refusal {
                let isSaid = refused.count > earlier && refused.last?.omission.message == reason
                if choices.isEmpty, !isSaid { refused.insert((nominee, nominee.omission(.signatureRefused, reason)), at: earlier) }
            } else {
                choices.append(nominee)
            }
        }
        if running == nil, let candidate = candidates.first, candidates.count == 1 {
            choices += candidate.fallbacks.map { Nominee(candidate, $0) }
        }
        if !choices.isEmpty { self.choices.append(choices) }
    }

    /// Of several plugins with one name: the one that runs, else the one that came with Knap, else none, because a
    /// stranger must not take a name by being first in the alphabet.
    private mutating func single(_ candidates: [Candidate], running: RunningPlugin?) -> Candidate? {
        guard candidates.count > 1 else { return candidates.first }
        let sorted = candidates.sorted { ($0.source, $0.identity) < ($1.source, $1.identity) }
        let builtIn = sorted.filter(\.isBuiltIn)
        let chosen = sorted.first { $0.identity == running?.identity } ?? (builtIn.count == 1 ? builtIn.first : nil)
        let files = sorted.map(\.source).joined(separator: " and ")
        for candidate in sorted {
            if let chosen, candidate.source == chosen.source, candidate.identity == chosen.identity { continue }
            let outcome = chosen.map { "the one of \($0.source) is used" } ?? "none of them is used"
            let message = "\(files) are all named '\(candidate.manifest.name)'; \(outcome): remove or rename the others"
            let nominee = Nominee(candidate, isRunning: false)
            refused.append((nominee, nominee.omission(.duplicateName, message)))
        }
        return chosen
    }

    private func refusal(of candidate: Candidate, _ nominee: Nominee) -> Omission? {
        if let reason = candidate.quarantine {
            return nominee.omission(
                .quarantined,
                "version \(nominee.manifest.version) is in quarantine (\(reason)); replace it, or "
                    + "'knap plugins release \(nominee.name)' to try it again")
        }
        if let reason = candidate.refusal { return nominee.omission(.signatureRefused, reason) }
        if let reason = candidate.onHold { return nominee.omission(.onHold, reason) }
        guard candidate.manifest.isolations.contains(candidate.isolation) else {
            let supported = candidate.manifest.isolations.map(\.rawValue).joined(separator: ", ")
            return nominee.omission(
                .isolationUnsupported,
                "it cannot run \(candidate.isolation.rawValue), as the configuration wants: it supports \(supported)")
        }
        guard candidate.missingGrants.isEmpty else {
            return nominee.omission(
                .waitingForGrants,
                "waiting for \(candidate.missingGrants.joined(separator: ", ")); "
                    + "'knap plugins grant \(nominee.name)' allows it")
        }
        return nil
    }

    private mutating func refuseUnknown(_ wanted: Wanted, known: [String]) {
        guard case .only(let names) = wanted else { return }
        for name in names.subtracting(known).sorted() {
            let hint = NearestMatch.hint(name, among: known)
            unknown.append(
                Omission(
                    plugin: name, version: nil, source: "", code: .unknownPlugin,
                    message: "'\(name)' is wanted, but there is no such plugin\(hint)"))
        }
    }
}
