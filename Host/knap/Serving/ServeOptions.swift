import KnapControl
import KnapHost
import KnapJSON

/// What a host is to be started with.
struct ServeOptions: Sendable {
    let state: StateDirectory
    let vaults: [String]
    let port: UInt16?
    let pluginDirectories: [String]
    let profile: String?
    let isRelayStarted: Bool

    /// The command line as settings of plugins, which win over stored ones for this start.
    func overrides(token: String) -> [String: JSONObject] {
        var gateway: JSONObject = ["token": .string(token)]
        gateway["port"] = port.map { .number(JSONNumber($0)) }
        var overrides = ["gateway": gateway]
        if !vaults.isEmpty { overrides["obsidian"] = ["vaults": .array(vaults.map { .string($0) })] }
        return overrides
    }
}

/// A host that has started, as `serve` sees it.
protocol RunningHost: ControlBackend {
    func stop() async
    /// What a plugin answers to the host itself, rather than to somebody outside; nil when it does not.
    func ask(_ method: String) async -> JSON?
}
