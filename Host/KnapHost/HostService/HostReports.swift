import CKnap
import Glibc
import KnapJSON
import KnapPlugin

/// What the host says of itself.
extension Host {
    var info: JSON {
        [
            "version": .string(HostService.version), "pid": .number(JSONNumber(getpid())),
            "state_directory": .string(configuration.state.path),
            "plugin_directories": .array(
                ([configuration.state.plugins] + configuration.pluginDirectories).map { .string($0) }),
            "built_in_plugins": configuration.builtInPlugins.map { .string($0) } ?? .null,
            "joining": .array(configuration.joining.map { .string($0) }),
            "plugins": .number(JSONNumber(records.count)),
            "safe_mode": safeMode.map { .string($0) } ?? .null,
            "active": .number(JSONNumber(records.values.filter { $0.state == .active }.count)),
        ]
    }

    var pluginSummaries: [JSON] {
        records.values.sorted { $0.name < $1.name }.map(\.summary)
            + refused.sorted { $0.key < $1.key }.map { path, reason in
                [
                    "name": .string(baseName(path)), "state": "broken", "reason": .string(reason),
                    "source": .string(path),
                ]
            }
    }

    func pluginDetails(_ name: String) throws(PluginError) -> JSON {
        try knownPlugin(name)
        guard let record = records[name], var details = record.details.objectValue else { return .null }
        if let artifact = record.instance?.artifact ?? record.artifact {
            let missing = record.isFirstParty ? [] : missingGrants(artifact, verdict(on: artifact, record))
            let granted = artifact.manifest.permissions.requests.filter { !missing.contains($0) }
            if let probation = probation(of: name) { details["probation_ends_ms"] = .number(JSONNumber(probation.ends)) }
            let standing = replacements.standing(of: name)
            if let back = standing.trial?.kind == .switched ? standing.content : standing.previous {
                details["rollback_to"] = .string("\(back.digest)")
            }
            if !record.retiring.isEmpty { details["retiring"] = .number(JSONNumber(record.retiring.count)) }
            details["granted"] = .array(granted.map { .string($0) })
            details["signature"] = signatureReport(artifact, record)
        }
        for (key, value) in watchdog.report(of: name) { details[key] = value }
        if let crash = crashLog.last(of: name) { details["last_crash"] = .string(crash.text) }
        return .object(details)
    }

    func planNow() -> JSON {
        let plan = Planner.plan(planInput())
        guard var answer = plan.json.objectValue else { return .null }
        answer["text"] = .string(plan.text)
        return .object(answer)
    }

    var serviceDescriptions: JSON { services.describe("") }

    func effectiveConfiguration(_ name: String) throws(PluginError) -> JSON {
        guard let manifest = manifest(of: name) else {
            try knownPlugin(name)
            return .null
        }
        do {
            var settings = try configurationStore.configuration(for: manifest)
            // What may be set and is never shown, wherever it came from.
            let properties = manifest.configuration.schema?["properties"]?.objectValue ?? JSONObject()
            let hidden = configurationStore.secrets(of: manifest.name)
            for key in settings.names where hidden.contains(key) || properties[key]?["writeOnly"] == true {
                settings[key] = "(secret)"
            }
            return .object(settings)
        } catch {
            throw PluginError(code: .failedPrecondition, message: error.message)
        }
    }

    /// What a person should know of a plugin's report: its `reason`, or all of it.
    private static func reason(_ report: String) -> String {
        (try? JSON.parse(report))?["reason"]?.stringValue ?? report
    }

    /// Everything that is not as it should be, each with what to do.
    func diagnosis() async -> JSON {
        var problems: [JSON] = refused.sorted { $0.key < $1.key }.map { path, reason in
            ["subject": .string(path), "problem": .string(reason.hasPrefix(path + ": ") ? String(reason.dropFirst(path.count + 2)) : reason)]
        }
        if signaturePolicy != .any, trust.current.keys.isEmpty {
            problems.append([
                "subject": "host",
                "problem": .string(
                    "host.signatures is '\(signaturePolicy.rawValue)', but no key is trusted, so that no plugin from elsewhere can "
                        + "run; 'knap plugins trust add FILE.pub' trusts one"),
            ])
        }
        problems += interceptorProblems + crashProblems
        for record in records.values.sorted(by: { $0.name < $1.name }) {
            if [.failed, .resolved, .waiting].contains(record.state) {
                problems.append(["subject": .string(record.name), "problem": .string(record.reason)])
            }
            if record.state == .active, let health = await record.instance?.health(), health.status != KNAP_HEALTHY.status {
                let word = health.status == KNAP_DEGRADED.status ? "degraded" : "unhealthy"
                problems.append(["subject": .string(record.name), "problem": .string("is \(word): \(Self.reason(health.report))")])
            }
            for hanging in watchdog.hanging(in: record.name) {
                problems.append(["subject": .string(record.name), "problem": .string("\(hanging); only a new start of the host ends it")])
            }
            problems += record.warnings.map { ["subject": .string(record.name), "problem": .string($0)] }
            if record.instance?.code.isolation == .inProcess, !record.isFirstParty {
                problems.append([
                    "subject": .string(record.name),
                    "problem": .string("runs in the host's process: a crash of it is a crash of the host; 'knap plugins isolate \(record.name) worker' moves it"),
                ])
            }
        }
        return ["healthy": .bool(problems.isEmpty), "problems": .array(problems)]
    }
}

private func baseName(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }
