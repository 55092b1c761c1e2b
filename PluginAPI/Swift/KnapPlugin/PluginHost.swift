import CKnap
import KnapJSON

/// The host as one plugin instance sees it. Keep it: it is valid in every task, and answers UNAVAILABLE once the
/// instance has been destroyed.
public final class PluginHost: Sendable {
    let link: HostLink
    /// Sleeps and registry streams under way.
    let activities = Activities()

    /// The host's log.
    public let log: Log
    /// Calls to other plugins.
    public let services: Services
    /// What other plugins contribute.
    public let registry: Registry
    /// Waiting without a thread.
    public let timers: Timers
    /// File descriptors that outlive this instance.
    public let descriptors: Descriptors
    /// Connections by name, through the host's broker.
    public let network: Network

    init(_ link: HostLink) {
        self.link = link
        log = Log(link: link)
        services = Services(link: link)
        registry = Registry(link: link, activities: activities)
        timers = Timers(link: link, activities: activities)
        descriptors = Descriptors(link: link)
        network = Network(link: link)
    }

    /// For the host's own calls, which are made as a plugin's are.
    package convenience init(_ host: UnsafePointer<knap_host_t>) throws(PluginError) { self.init(try HostLink(host)) }

    /// The plugin's configuration, checked by the host: the manifest's defaults, the operator's file, the environment.
    ///
    /// It does not change under an instance (a change reloads the plugin) and may hold secrets, so do not log it.
    public func configuration<T: Decodable>(as type: T.Type = T.self) throws(PluginError) -> T {
        let bytes = try link.use(link.extensions.config, KNAP_EXT_CONFIG) { host, table throws(PluginError) in
            try [UInt8].written("read the configuration") { table.read(host, $0) }
        }
        return try Body.decode(T.self, from: bytes, of: "The configuration", code: .failedPrecondition)
    }

    /// The absolute path of a directory of the plugin's own, kept across restarts, reloads and upgrades.
    public var stateDirectory: String {
        get throws(PluginError) {
            let path = try link.use(link.extensions.stateDirectory, KNAP_EXT_STATE_DIRECTORY) {
                host, table throws(PluginError) in
                try [UInt8].written("tell the state directory") { table.path(host, $0) }
            }
            return String(decoding: path, as: UTF8.self)
        }
    }
}
