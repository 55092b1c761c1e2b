import KnapJSON
import Synchronization

/// How far the replacements of plugins have come: STATE/replacements.jsonl, on disk before the next step is taken.
///
/// Whatever ends the host, the next start reads here what ran, what was being tried, and whether a copy of the state
/// directory has to be put back. All but reading blocks on the disk.
final class ReplacementLog: Sendable {
    private static let longest = 1000

    private struct State: ~Copyable {
        var journal: Journal
        var standings: Standings
        var count: Int
    }
    private let state: Mutex<State>

    init(directory: String) throws(StoreError) {
        let path = directory + "/replacements.jsonl"
        var entries: [JSON] = []
        let journal = try Journal(path: path) { entries = $0.entries }
        var standings = Standings()
        for (number, entry) in entries.enumerated() {
            guard let step = ReplacementStep(entry) else {
                throw StoreError(
                    code: .corrupted,
                    message: "\(path):\(number + 1): it is no step of a replacement; restore the file or move it away")
            }
            standings.apply(step)
        }
        state = Mutex(State(journal: journal, standings: standings, count: entries.count))
    }

    var standings: Standings { state.withLock { $0.standings } }

    func standing(of name: String) -> Standing { state.withLock { $0.standings.byName[name] } ?? Standing() }

    func record(_ step: ReplacementStep) throws(StoreError) {
        DeathPoint.reached("before-\(step.kind.rawValue)")
        let result: Result<Void, StoreError> = state.withLock { state in
            Result { () throws(StoreError) in
                try state.journal.append(step.json)
                state.standings.apply(step)
                state.count += 1
                guard state.count > Self.longest else { return }
                let steps = state.standings.steps
                try state.journal.rewrite(steps.map(\.json))
                // However many plugins there are, it is not rewritten at every step.
                state.count = steps.count > Self.longest / 2 ? Self.longest / 2 : steps.count
            }
        }
        try result.get()
        DeathPoint.reached(step.kind.rawValue)
    }
}
