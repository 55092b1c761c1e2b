import CKnap
import KnapJSON
import Synchronization

/// Calls to other plugins, by service and method, never by plugin.
public struct Services: Sendable {
    let link: HostLink
    private let bindings = Bindings()

    init(link: HostLink) { self.link = link }

    /// Binds "service.method" to whoever provides it, now or later, in a semver range (empty: any version).
    ///
    /// A binding outlives reloads and restarts of its provider, so bind once. Binding the same method again gives the
    /// same binding. PERMISSION_DENIED where the plugin neither requires the service nor was granted it.
    public func bind(_ method: String, range: String = "") throws(PluginError) -> Binding {
        let key = Bindings.Key(method: method, range: range)
        if let binding = bindings.cached.withLock({ $0[key] }) { return binding }
        let binding = try Binding(method, range: range, link: link)
        // Two tasks may have bound at once: the first one stays, the other gives its binding back in its deinit.
        return bindings.cached.withLock { cached in
            if let first = cached[key] { return first }
            cached[key] = binding
            return binding
        }
    }

    /// What provides a service (empty: all of them): `[{"service", "version", "plugin", "state", "methods"}]`.
    public func describe(_ service: String = "") throws(PluginError) -> JSON {
        let bytes = try link.use(link.extensions.services, KNAP_EXT_SERVICES) { host, table throws(PluginError) in
            try service.withText { service throws(PluginError) in
                try [UInt8].written("describe services") { table.describe(host, service, $0) }
            }
        }
        return try Body.decode(JSON.self, from: bytes, of: "The description of services", code: .internal)
    }
}

private final class Bindings: Sendable {
    struct Key: Hashable {
        let method: String
        let range: String
    }

    let cached = Mutex<[Key: Binding]>([:])
}
