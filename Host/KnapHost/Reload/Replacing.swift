import KnapCallEngine
import KnapPlugin
import Logging

/// One plugin whose generation is to be replaced.
struct Replacement: Sendable {
    var name: String
    var artifact: Artifact
}

/// An old generation and the one that takes its place.
struct Pair {
    let name: String
    let artifact: Artifact
    let old: Instance
    var new: Instance?
    var isSuspended = false
}

/// Reload as a transaction: new generations take over from old ones, all together, and no call fails.
///
///     1  make and prepare the new ones           the old ones serve
///     2  close the gate before the old ones      root calls wait, calls in flight and what descends from them go on
///     3  wait until no call is in flight         too long: the gate opens again, the old ones serve on
///     4  suspend the old ones, save their state  dependants first
///     5  load it into the new ones, activate     providers first; failed: the old ones are activated again
///     6  publish the new routes, open the gate
///
/// A plugin that holds nothing alone can do without the wait; see Overlapping.swift.
extension Host {
    /// Replaces the running generation by `artifact`; throws when the old one serves on.
    func replace(_ name: String, with artifact: Artifact, _ reason: String) async throws(PluginError) {
        try await replace([Replacement(name: name, artifact: artifact)], reason)
    }

    /// Replaces all of them or none. In the order in which they would start: providers first.
    func replace(_ replacements: [Replacement], _ reason: String) async throws(PluginError) {
        var pairs: [Pair] = []
        for replacement in replacements {
            guard let old = records[replacement.name]?.instance else {
                throw PluginError(code: .failedPrecondition, message: "\(replacement.name) does not run")
            }
            pairs.append(Pair(name: replacement.name, artifact: replacement.artifact, old: old))
        }
        let overlaps = mayOverlap(pairs)
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
            if overlaps { try await takeOver(pairs[0]) } else { try await handOver(pairs) }
        } catch {
            for pair in pairs { await abandon(pair, error) }
            throw error
        }
        for pair in pairs {
            records[pair.name]?.previous = pair.old.artifact
            if overlaps { retire(pair.old, of: pair.name) } else { await discard(pair.old) }
        }
    }

    private func abandon(_ pair: Pair, _ error: PluginError) async {
        if let new = pair.new { await discard(new, after: error) }
        logger.error("reload failed", metadata: ["plugin": .string(pair.name), "reason": .string(error.message)])
        // The old one may have ended meanwhile, which its supervision deals with.
        if records[pair.name]?.instance === pair.old {
            records[pair.name]?.change(to: .active, "the reload failed: \(error.message)")
        }
    }

    private func handOver(_ given: [Pair]) async throws(PluginError) {
        var pairs = given
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
                try await pairs[index].old.suspend()
                states[pairs[index].name] = try await pairs[index].old.save()
            }
            for pair in pairs {
                guard let new = pair.new else { continue }
                if let state = states[pair.name], new.manifest.extensions.contains("knap.state/1") { try await new.load(state) }
                try await new.activate()
            }
            for pair in pairs { (pair.old.code as? WorkerCode)?.process.serves(false) }
            for pair in pairs {
                if let new = pair.new { try serve(new, pair.name, "reloaded") }
            }
        } catch {
            let failure = await takeBack(pairs, error)
            await onOwnThread { gate.open() }
            throw failure
        }
        await onOwnThread { gate.open() }
    }

    /// Has the old ones serve again, providers first.
    private func takeBack(_ pairs: [Pair], _ error: PluginError) async -> PluginError {
        var error = error
        for pair in pairs {
            if pair.isSuspended {
                do throws(PluginError) { try await pair.old.activate() } catch let second {
                    error.message += "; and the old version of \(pair.name) does not start again: \(second.message)"
                }
            }
            do throws(PluginError) {
                // Some of the new ones may have been published already.
                if records[pair.name]?.instance !== pair.old { try serve(pair.old, pair.name, "the reload failed") }
            } catch let second {
                error.message += "; \(pair.name): \(second.message)"
            }
            (pair.old.code as? WorkerCode)?.process.serves(true)
            pair.old.party.open()
        }
        return error
    }
}
