import KnapJSON
import Logging

/// What a host is started with.
package struct HostConfiguration: Sendable {
    /// Locked by whoever starts the host.
    package var state: StateDirectory
    /// Where the plugins that ship with Knap are.
    package var builtInPlugins: String?
    /// The program that runs one plugin in a process of its own; nil: there is none, and all run in this one.
    package var worker: String?
    /// Whether workers are put into control groups, where there may be any. The host's process goes into one as well.
    package var makesControlGroups: Bool
    /// Drop directories; the state directory's own is always one.
    package var pluginDirectories: [String]
    /// Which plugins run; nil: all that are enabled.
    package var wanted: Set<String>?
    /// What this installation sets where a manifest has a default, by plugin.
    package var defaults: [String: JSONObject]
    /// Settings for this start, by plugin.
    package var overrides: [String: JSONObject]
    package var environment: [String: String]
    package var logLevel: Logger.Level
    /// How the host before this one ended.
    package var lastEnd: HostEnd
    /// The program and arguments by which an MCP client joins this host.
    package var joining: [String]

    package init(
        state: StateDirectory, builtInPlugins: String?, worker: String? = nil, makesControlGroups: Bool = false,
        pluginDirectories: [String] = [], wanted: Set<String>? = nil,
        defaults: [String: JSONObject] = [:],
        overrides: [String: JSONObject] = [:], environment: [String: String] = [:], logLevel: Logger.Level = .info,
        lastEnd: HostEnd = .orderly, joining: [String] = []
    ) {
        self.state = state
        self.builtInPlugins = builtInPlugins
        self.worker = worker
        self.makesControlGroups = makesControlGroups
        self.pluginDirectories = pluginDirectories
        self.wanted = wanted
        self.defaults = defaults
        self.overrides = overrides
        self.environment = environment
        self.logLevel = logLevel
        self.lastEnd = lastEnd
        self.joining = joining
    }
}
