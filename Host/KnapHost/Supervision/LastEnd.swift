import Glibc
import KnapJSON
import KnapPlugin
import Logging

/// What follows from how the host before this one ended.
extension Host {
    /// Reads the record, says what happened, and holds back what must not start. After the plugins are known and before any
    /// starts.
    func learnFromLastEnd() async {
        let crashes: [Crash]
        switch configuration.lastEnd {
        case .orderly: return
        case .crashed(let crash): crashes = [crash]
        case .unknown(let steps):
            logger.notice(
                "the last host ended without a trace",
                metadata: ["hooks": .string(steps.map { "\($0.activity) of \($0.culprit?.plugin ?? "")" }.joined(separator: ", "))])
            crashes = steps
        }
        let earlier = crashLog.all
        let entries = crashes.map { CrashLog.Entry($0) }
        let (log, written) = (crashLog, entries)
        let isKept = await onOwnThread { log.add(written) ? nil : errorText(errno) }
        if let isKept { logger.error("crash not written down", metadata: ["reason": .string(isKept)]) }
        for entry in entries { act(on: entry, after: earlier) }
    }

    private func act(on crash: CrashLog.Entry, after earlier: [CrashLog.Entry]) {
        let record = records[crash.plugin]
        let isFirstParty = record?.isFirstParty ?? false
        var consequence = "it is started again"
        switch CrashPolicy.verdict(on: crash, after: earlier, isFirstParty: isFirstParty) {
        case .tolerate: break
        case .safeMode:
            safeMode = "safe mode: the host crashed (\(crash.summary)) and no plugin can be named"
            consequence = "only plugins that ship with Knap start now"
        case .confine:
            consequence = "its content runs in a worker from now on, or not at all"
            confine(crash.digest, "its code ended the host: \(crash.summary)")
        }
        logger.critical(
            "the last host crashed",
            metadata: [
                "plugin": .string(crash.plugin.isEmpty ? "unknown" : crash.plugin), "what": .string(crash.summary),
                "consequence": .string(consequence),
            ])
    }

    private func confine(_ digest: String, _ reason: String) {
        do throws(ConfigurationError) { try choices.change { $0.confined[digest] = reason } } catch {
            confinedHere[digest] = reason
            logger.error("confinement not written", metadata: ["reason": "\(error)"])
        }
    }

    /// Why this content may not run in the host's process; nil: it may.
    func confinement(of identity: String) -> String? { choices.current.confined[identity] ?? confinedHere[identity] }

    /// Why a plugin is not started although nothing is wrong with it; nil: it is.
    func onHold(_ record: PluginRecord) -> String? {
        if let ended = record.artifact.flatMap({ ended["\($0.digest)"] }) { return ended }
        guard let safeMode, !record.isFirstParty, !freed.contains(record.name) else { return nil }
        return "\(safeMode), so only plugins that ship with Knap start; 'knap plugins release \(record.name)' starts this "
            + "one, 'knap plugins release' or a new start of the host all"
    }

    /// What `knap doctor` says about crashes.
    var crashProblems: [JSON] {
        var problems: [JSON] = []
        if let safeMode {
            problems.append([
                "subject": "host",
                "problem": .string("\(safeMode); 'knap plugins release' or a new start of the host ends it"),
            ])
        }
        for record in records.values.sorted(by: { $0.name < $1.name }) {
            guard let artifact = record.artifact, let reason = confinement(of: "\(artifact.digest)") else { continue }
            problems.append([
                "subject": .string(record.name),
                "problem": .string(
                    "\(reason); so it runs in a worker or not at all; replace it, or 'knap plugins release \(record.name)' ends this"),
            ])
        }
        return problems
    }
}
