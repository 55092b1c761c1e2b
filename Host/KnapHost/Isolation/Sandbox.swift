import KnapJSON
import KnapPlugin

/// What keeps a worker in, layer by layer, as Host/Worker/sandbox.h counts them.
struct SandboxLayers: OptionSet, Sendable, CustomStringConvertible {
    let rawValue: UInt32

    static let noNewPrivileges = SandboxLayers(rawValue: 1)
    static let noCapabilities = SandboxLayers(rawValue: 2)
    static let landlock = SandboxLayers(rawValue: 4)
    static let seccomp = SandboxLayers(rawValue: 8)
    /// Landlock restricts ports, signals and abstract sockets too.
    static let scopes = SandboxLayers(rawValue: 16)
    static let ownUser = SandboxLayers(rawValue: 32)

    private static let names: [(SandboxLayers, String)] = [
        (.noNewPrivileges, "no new privileges"), (.noCapabilities, "no capabilities"), (.landlock, "Landlock"),
        (.seccomp, "seccomp"), (.scopes, "scopes"), (.ownUser, "own user"),
    ]

    var description: String {
        let held = Self.names.filter { contains($0.0) }.map(\.1)
        return held.isEmpty ? "none" : held.joined(separator: ", ")
    }
}

/// What the operator demands of a worker's sandbox before any code of its plugin runs: the setting `host.sandbox`.
enum SandboxDemand: String, Sendable, CaseIterable {
    /// What this machine offers; what it does not is reported.
    case best
    /// The layers without which it would be none.
    case required
    /// All there are.
    case strict

    var layers: SandboxLayers {
        switch self {
        case .best: []
        case .required: [.noNewPrivileges, .noCapabilities, .landlock, .seccomp]
        case .strict: [.noNewPrivileges, .noCapabilities, .landlock, .seccomp, .scopes, .ownUser]
        }
    }
}

extension Host {
    /// Reads anew what the host's own configuration says.
    func readOwnSettings() throws {
        let settings = try configurationStore.configuration(for: HostManifest.manifest())
        // The schema knows no other values.
        signaturePolicy = settings["signatures"]?.stringValue.flatMap(SignaturePolicy.init) ?? .pinned
        demandedInterceptors = Set((settings["interceptors"]?.arrayValue ?? []).compactMap(\.stringValue))
        sandboxDemand = settings["sandbox"]?.stringValue.flatMap(SandboxDemand.init) ?? .strict
        watchdogTime = .milliseconds(settings["watchdog_ms"]?.intValue ?? 10_000)
        users.use(settings["worker_users"]?.stringValue ?? "")
        engine.hang(after: watchdogTime)
    }

    /// Changes a setting of the host itself; it is in force when the operation has ended.
    func configureHost(_ key: String, _ value: JSON?) throws(PluginError) -> JSON {
        begin("config", HostService.name) { [self] () throws(PluginError) in
            try await write(HostService.name, key, value, secret: false)
            do { try await readOwnSettings() } catch {
                throw PluginError(code: .failedPrecondition, message: "\(error)")
            }
            if key == "sandbox" || key == "worker_users" { await demandSandbox() }
            await reconcile()
            return "\(key) is \(value?.serialized() ?? "the default again")"
        }
    }

    /// Ends what runs with less than is demanded now, and lets what failed be tried with what is.
    private func demandSandbox() async {
        rejected = [:]
        for name in records.keys.sorted() {
            guard let instance = records[name]?.instance, let sandbox = instance.code.sandbox, let artifact = instance.artifact
            else { continue }
            let missing = sandboxDemand.layers.subtracting(sandbox)
            if missing.isEmpty { continue }
            for dependant in dependants(of: name) { await stopPlugin(dependant, "\(name), which it requires, is stopped") }
            await stopPlugin(name, "host.sandbox is '\(sandboxDemand.rawValue)'")
            // A start may achieve more than the last one did; what it cannot it says.
            await startPlugin(name, artifact)
        }
    }
}
