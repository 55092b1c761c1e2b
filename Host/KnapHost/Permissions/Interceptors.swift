import KnapCallEngine
import KnapJSON
import KnapPlugin
import Logging

/// Who judges every call, and whom the operator demands for it: the setting `host.interceptors`.
///
/// What was demanded and is not there cannot have allowed anything, so calls from outside fail until it is. The service
/// `host` answers all the same, or nothing could be mended.
extension Host {
    /// Tells the engine who observes and intercepts, in the order of names, and whether somebody is missing.
    func updateHooks() {
        // Also while it is being replaced: the engine asks whoever serves.
        let hooked = records.values.filter { $0.instance != nil }.sorted { $0.name < $1.name }
        let reason = missingInterceptors.first.map { name, reason in
            "the interceptor '\(name)' must judge every call (host.interceptors), but \(reason); see 'knap doctor', or "
                + "'knap config set host.interceptors []' to do without it"
        }
        if reason != closedReason {
            if let reason { logger.error("calls from outside are refused", metadata: ["reason": .string(reason)]) }
            closedReason = reason
        }
        engine.setHooks(hooked.compactMap(\.instance?.hooked), closed: reason, but: ownService?.party)
    }

    /// Those that are demanded and do not intercept, each with why.
    var missingInterceptors: [(name: String, reason: String)] {
        demandedInterceptors.sorted().compactMap { name in
            guard let record = records[name] else { return (name, "there is no such plugin here") }
            guard let hooked = record.instance?.hooked else {
                if record.instance != nil { return (name, "that plugin does not ask to intercept (permissions.intercept)") }
                return (name, "it is \(record.state.rawValue)\(record.reason.isEmpty ? "" : ": \(record.reason)")")
            }
            return hooked.intercept == nil ? (name, "it offers no interception (knap.intercept/1)") : nil
        }
    }

    var interceptorProblems: [JSON] {
        missingInterceptors.map { name, reason in
            [
                "subject": .string(name),
                "problem": .string(
                    "calls from outside are refused, because this interceptor is demanded (host.interceptors), but \(reason)"),
            ]
        }
    }
}
