import CKnap
import KnapJSON
import KnapPlugin
import Logging

/// New contents that serve and have to prove themselves: until they are committed the host is ready to return to the old.
///
/// It returns by itself when one of them ends, opens its circuit breaker, or says that it is unhealthy.
struct Probation: Sendable {
    let changes: [Change]
    /// CLOCK_REALTIME, in milliseconds since 1970.
    let ends: Int64
    let task: Task<Void, Never>
}

extension Host {
    func probation(of name: String) -> Probation? { probations.first { $0.changes.contains { $0.name == name } } }
    func isOnProbation(_ name: String) -> Bool { probation(of: name) != nil }

    /// Watches over new contents, and commits them when their time is over.
    func beginProbation(_ changes: [Change]) async {
        guard let first = changes.first, !isOnProbation(first.name) else { return }
        let period = changes.map { records[$0.name]?.instance?.manifest.probation ?? defaultProbation }.max() ?? .zero
        guard period > .zero else { return await commit(changes) }
        let end = ContinuousClock.now + period
        let task = Task { [weak self] in
            var looks = 0
            while ContinuousClock.now < end {
                try? await Task.sleep(for: min(Self.probationLook, end - ContinuousClock.now))
                guard let self, !Task.isCancelled else { return }
                looks += 1
                // A plugin is asked for its health less often than its counts are read.
                guard let problem = await self.problem(of: changes, asksHealth: looks % 5 == 0) else { continue }
                return await self.change { [self] in
                    guard await self.isOnProbation(first.name) else { return }
                    await self.giveBack(changes, .failed(problem))
                    await self.reconcile()
                }
            }
            guard let self, !Task.isCancelled else { return }
            await self.change { [self] in await self.endProbation(changes) }
        }
        probations.append(
            Probation(changes: changes, ends: wallClockMilliseconds() + Int64(period.inMilliseconds), task: task))
    }

    private static let probationLook = Duration.milliseconds(200)

    private var defaultProbation: Duration { .milliseconds(setting("probation_ms", in: 0...86_400_000)) }

    /// Why one of them has failed its probation; nil while none has.
    private func problem(of changes: [Change], asksHealth: Bool) async -> String? {
        for change in changes {
            guard let instance = records[change.name]?.instance, instance.artifact?.digest == change.to.digest else { continue }
            if instance.party.counts.breaker_open != 0 { return "\(change.name): its circuit breaker opened" }
            if asksHealth, let health = await instance.health(), health.status == KNAP_UNHEALTHY.status {
                return "\(change.name): it is unhealthy: \(health.report)"
            }
        }
        return nil
    }

    /// Commits what served to the end. What was stopped meanwhile goes on with its probation when it starts again.
    private func endProbation(_ changes: [Change]) async {
        guard let first = changes.first, isOnProbation(first.name) else { return }
        let isServing = changes.allSatisfy { records[$0.name]?.instance?.artifact?.digest == $0.to.digest }
        guard isServing else { return forgetProbation(of: changes) }
        await commit(changes)
        for change in changes {
            await tellCommitted(change.name)
            let to = records[change.name]?.instance?.manifest.version
            await note("commit", change.name, nil, .success("\(to.map { "\($0)" } ?? "the new version") served through its probation"))
        }
    }

    /// From here on there is no return by the host itself.
    func commit(_ changes: [Change]) async {
        forgetProbation(of: changes)
        await recordOrLog(.committed, changes)
        for change in changes where change.hasCheckpoint { await discardCheckpoint(of: change.name) }
    }

    func forgetProbation(of changes: [Change]) {
        let names = Set(changes.map(\.name))
        for probation in probations where probation.changes.contains(where: { names.contains($0.name) }) {
            probation.task.cancel()
        }
        probations.removeAll { $0.changes.contains { names.contains($0.name) } }
    }

    /// Has the plugin convert what is on disk.
    func tellCommitted(_ name: String) async {
        guard let instance = records[name]?.instance else { return }
        do throws(PluginError) { try await instance.committed() } catch {
            logger.warning("hook failed", metadata: ["plugin": .string(name), "reason": .string(error.message)])
        }
    }
}
