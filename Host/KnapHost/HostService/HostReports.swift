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
            "plugins": .number(JSONNumber(records.count)),
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
        guard let record = records[name] else { throw unknownPlugin(name) }
        return record.details
    }

    func planNow() -> JSON { Planner.plan(planInput()).json }

    var serviceDescriptions: JSON { services.describe("") }

    func effectiveConfiguration(_ name: String) throws(PluginError) -> JSON {
        guard let manifest = records[name]?.artifact?.manifest else { throw unknownPlugin(name) }
        do { return .object(try configurationStore.configuration(for: manifest)) } catch {
            throw PluginError(code: .failedPrecondition, message: error.message)
        }
    }

    func grant(_ name: String) throws(PluginError) -> JSON {
        guard let artifact = records[name]?.artifact else { throw unknownPlugin(name) }
        do { try grants.grant(artifact.manifest, identity: "\(artifact.digest)") } catch {
            throw PluginError(code: .failedPrecondition, message: error.message)
        }
        return [
            "granted": .array(artifact.manifest.permissions.requests.map { .string($0) }),
            "applies": .string("at the next start of \(name)"),
        ]
    }

    /// Everything that is not as it should be, each with what to do.
    var diagnosis: JSON {
        var problems: [JSON] = refused.sorted { $0.key < $1.key }.map { path, reason in
            ["subject": .string(path), "problem": .string(reason)]
        }
        for record in records.values.sorted(by: { $0.name < $1.name }) {
            if record.state == .failed || record.state == .resolved {
                problems.append(["subject": .string(record.name), "problem": .string(record.reason)])
            }
            if record.state == .active, let health = record.instance?.health(), health.status != KNAP_HEALTHY.status {
                let word = health.status == KNAP_DEGRADED.status ? "degraded" : "unhealthy"
                problems.append(["subject": .string(record.name), "problem": .string("is \(word): \(health.report)")])
            }
            problems += record.warnings.map { ["subject": .string(record.name), "problem": .string($0)] }
            if record.state == .active, !record.isFirstParty {
                problems.append([
                    "subject": .string(record.name),
                    "problem": "runs in the host's process: a crash of it is a crash of the host",
                ])
            }
        }
        return ["healthy": .bool(problems.isEmpty), "problems": .array(problems)]
    }

    private func unknownPlugin(_ name: String) -> PluginError {
        PluginError(
            code: .notFound,
            message: "there is no plugin '\(name)'\(NearestMatch.hint(name, among: records.keys.sorted()))")
    }
}

private func baseName(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }
