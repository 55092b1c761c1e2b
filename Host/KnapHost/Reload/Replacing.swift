import KnapCallEngine
import KnapPlugin
import Logging

/// Reload as a transaction: a new generation takes over from the old one, and no call fails.
///
///     1  make and prepare the new one            the old one serves
///     2  close the gate before the old one       root calls wait, calls in flight and what descends from them go on
///     3  wait until no call is in flight         too long: the gate opens again, the old one serves on
///     4  suspend the old one, save its state
///     5  load it into the new one, activate it   failed: the old one is activated again
///     6  publish the new routes, open the gate
extension Host {
    /// Replaces the running generation by `artifact`; throws when the old one serves on.
    func replace(_ name: String, with artifact: Artifact, _ reason: String) async throws(PluginError) {
        guard let old = records[name]?.instance else {
            throw PluginError(code: .failedPrecondition, message: "\(name) does not run")
        }
        records[name]?.change(to: .reloading, reason)
        do throws(PluginError) {
            let new = try await make(artifact, name)
            do throws(PluginError) {
                try await new.prepare()
                try await hand(over: old, to: new, name)
            } catch {
                await discard(new, after: error)
                throw error
            }
        } catch {
            logger.error("reload failed", metadata: ["plugin": .string(name), "reason": .string(error.message)])
            // The old one may have ended meanwhile, which its supervision deals with.
            if records[name]?.instance === old {
                records[name]?.change(to: .active, "the reload failed: \(error.message)")
            }
            throw error
        }
        records[name]?.previous = old.artifact
        await discard(old)
    }

    private func hand(over old: Instance, to new: Instance, _ name: String) async throws(PluginError) {
        guard let gate = engine.closeGate(of: [old.party]) else {
            throw PluginError(code: .resourceExhausted, message: "out of memory for a gate")
        }
        var isSuspended = false
        do throws(PluginError) {
            guard await old.drain() else {
                throw PluginError(
                    code: .deadlineExceeded,
                    message: "calls were still in flight after \(old.manifest.drainTimeout); the old version serves on")
            }
            isSuspended = true
            try await old.suspend()
            if let state = try await old.save(), new.manifest.extensions.contains("knap.state/1") {
                try await new.load(state)
            }
            try await new.activate()
            if let worker = old.code as? WorkerCode { worker.process.serves(false) }
            try serve(new, name, "reloaded")
        } catch {
            if let worker = old.code as? WorkerCode { worker.process.serves(true) }
            var error = error
            if isSuspended {
                do throws(PluginError) { try await old.activate() } catch let second {
                    error.message += "; and the old version does not start again: \(second.message)"
                }
            }
            // Its routes are those of the old one still.
            old.party.open()
            await onOwnThread { gate.open() }
            throw error
        }
        await onOwnThread { gate.open() }
    }
}
