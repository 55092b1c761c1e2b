import KnapCallEngine
import KnapPlugin
import Logging

/// One plugin whose generation is to be replaced.
struct Replacement: Sendable {
    var name: String
    var artifact: Artifact
    /// The file in the drop directory that is to hold it, when somebody else's copy is not there already.
    var file: String?
}

/// An old generation and the one that takes its place.
struct Pair {
    let name: String
    let artifact: Artifact
    let old: Instance
    var new: Instance?
    var isSuspended = false
    /// A hook of the old one has not ended in its time: what it would do, nobody knows.
    var hangs = false
    /// Neither runs, because the state directory could not be put back: the next start does that.
    var isLeft = false
}

/// What a replacement is for.
enum ReplacementKind: Sendable {
    /// Another content, or the same anew; what is in memory is handed over.
    case reload
    /// The content before: freshly started on durable state, and not on probation.
    case rollback
}

/// Reload as a transaction: new generations take over from old ones, all together, and no call fails.
///
///     1  make and prepare the new ones           the old ones serve
///     2  close the gate before the old ones      root calls wait, calls in flight and what descends from them go on
///     3  wait until no call is in flight         too long: the gate opens again, the old ones serve on
///     4  suspend the old ones, save their state  dependants first; copy a state directory whose schema rises
///     5  load it into the new ones, activate     providers first; failed: the old ones are activated again
///     6  note it, publish the new routes, open   from here on the new ones are on probation
///        the gate
///
/// Where a content changes every step is in the journal before the next is taken. A plugin that holds nothing alone can
/// do without the wait; see Overlapping.swift.
extension Host {
    /// Replaces the running generation by `artifact`; throws when the old one serves on.
    func replace(
        _ name: String, with artifact: Artifact, _ reason: String, _ kind: ReplacementKind = .reload
    ) async throws(PluginError) {
        try await replace([Replacement(name: name, artifact: artifact)], reason, kind)
    }

    /// Replaces all of them or none. In the order in which they would start: providers first.
    func replace(
        _ replacements: [Replacement], _ reason: String, _ kind: ReplacementKind = .reload
    ) async throws(PluginError) {
        var pairs: [Pair] = []
        for replacement in replacements {
            guard let old = records[replacement.name]?.instance else {
                throw PluginError(code: .failedPrecondition, message: "\(replacement.name) does not run")
            }
            pairs.append(Pair(name: replacement.name, artifact: replacement.artifact, old: old))
        }
        var changes = try changes(replacements, kind)
        try await begin(changes)
        let overlaps = mayOverlap(pairs, kind)
        for pair in pairs {
            records[pair.name]?.change(to: .reloading, reason)
            if overlaps { await waitForRetiring(pair.name) }
        }
        do throws(PluginError) {
            for index in pairs.indices {
                let new = try await make(pairs[index].artifact, pairs[index].name, overlapping: overlaps)
                pairs[index].new = new
                try await new.prepare()
            }
            if overlaps { try await takeOver(pairs[0], changes) } else { try await handOver(&pairs, &changes, kind) }
        } catch {
            for pair in pairs { await abandon(pair, error) }
            if !pairs.contains(where: \.isLeft) { await giveUp(changes) }
            throw error
        }
        for pair in pairs {
            if overlaps { retire(pair.old, of: pair.name) } else { await discard(pair.old) }
        }
        if kind == .rollback { await commit(changes) } else { await beginProbation(changes) }
        for pair in pairs where !isOnProbation(pair.name) { await tellCommitted(pair.name) }
        await rememberSigners()
    }

    private func abandon(_ pair: Pair, _ error: PluginError) async {
        if let new = pair.new { await discard(new, after: error) }
        logger.error("reload failed", metadata: ["plugin": .string(pair.name), "reason": .string(error.message)])
        // The old one may have ended meanwhile, which its supervision deals with.
        if records[pair.name]?.instance === pair.old {
            records[pair.name]?.change(to: .active, "the reload failed: \(error.message)")
        }
    }

    private func handOver(
        _ pairs: inout [Pair], _ changes: inout [Change], _ kind: ReplacementKind
    ) async throws(PluginError) {
        guard let gate = engine.closeGate(of: pairs.map(\.old.party)) else {
            throw PluginError(code: .resourceExhausted, message: "out of memory for a gate")
        }
        do throws(PluginError) {
            for pair in pairs {
                guard await pair.old.drain() else {
                    throw PluginError(
                        code: .deadlineExceeded,
                        message:
                            "\(pair.name): calls were still in flight after \(pair.old.manifest.drainTimeout); the old version serves on")
                }
            }
            var states: [String: SavedState] = [:]
            for index in pairs.indices.reversed() {
                pairs[index].isSuspended = true
                do throws(PluginError) {
                    try await pairs[index].old.suspend()
                    if kind == .reload { states[pairs[index].name] = try await pairs[index].old.save() }
                } catch {
                    pairs[index].hangs = error.code == .deadlineExceeded
                    throw error
                }
            }
            changes = try await switching(changes)
            for pair in pairs {
                guard let new = pair.new else { continue }
                if let state = states[pair.name], new.manifest.extensions.contains("knap.state/1") { try await new.load(state) }
                try await new.activate()
            }
            // Before anybody is answered by a new one: what it then promises must be found by the next start.
            try await record(.switched, changes)
            // All of them or none: those that were published could not be taken back, as calls are in them.
            var offers: [[ServiceDirectory.Offer]] = []
            for pair in pairs { offers.append(try pair.new.map { new throws(PluginError) in try offer(of: new) } ?? []) }
            for pair in pairs { pair.old.code.serves(false) }
            for (pair, provisions) in zip(pairs, offers) {
                if let new = pair.new { publish(provisions, new, pair.name, "reloaded") }
            }
        } catch {
            let failure = await takeBack(&pairs, changes, error)
            await onOwnThread { gate.open() }
            throw failure
        }
        await onOwnThread { gate.open() }
    }

    /// Has the old ones serve again, providers first, on their own durable state.
    private func takeBack(_ pairs: inout [Pair], _ changes: [Change], _ error: PluginError) async -> PluginError {
        var error = error
        if changes.contains(where: \.hasCheckpoint) {
            // The new ones must let go of the directories before those are put back.
            for index in pairs.indices {
                if let new = pairs[index].new { await discard(new, after: error) }
                pairs[index].new = nil
            }
            do throws(PluginError) {
                try await restore(changes)
                await recordOrLog(.ended, changes)
            } catch let second {
                error.message += "; the state directory could not be put back: \(second.message)"
                for index in pairs.indices { pairs[index].isLeft = true }
                return await leaveStopped(pairs, error)
            }
        } else if let first = changes.first, replacements.standing(of: first.name).trial?.kind == .switched {
            // Before the old ones answer anybody.
            await recordOrLog(.ended, changes)
        }
        for pair in pairs {
            // A process that hangs can be ended; in this one there is no other way than on.
            if pair.hangs, pair.old.code.isolation == .worker {
                await startAfresh(pair, error)
                continue
            }
            do throws(PluginError) {
                if pair.isSuspended { try await pair.old.activate() }
                try serve(pair.old, pair.name, "the reload failed")
            } catch let second {
                error.message += "; and the old version of \(pair.name) does not go on: \(second.message)"
                await startAfresh(pair, second)
            }
        }
        return error
    }

    /// An old generation that was suspended cannot go on: its code starts anew, on its durable state.
    private func startAfresh(_ pair: Pair, _ error: PluginError) async {
        records[pair.name]?.instance = nil
        await letGo(pair.name, pair.old, nil)
        await discard(pair.old, after: error)
        records[pair.name]?.change(to: .failed, error.message)
        await startPlugin(pair.name, pair.old.artifact)
    }

    /// The old code must not run on what the new code wrote: the next start puts the copies back first.
    private func leaveStopped(_ pairs: [Pair], _ error: PluginError) async -> PluginError {
        for pair in pairs {
            records[pair.name]?.instance = nil
            await letGo(pair.name, pair.old, nil)
            await discard(pair.old, after: error)
            records[pair.name]?.change(to: .failed, error.message)
        }
        return error
    }
}
