import KnapPlugin

/// A plugin with everything that the official conformance suite wants of a server, under the names and with the texts
/// that the suite knows, and with what the specification's examples show.
public final class Conformance: Plugin {
    public static let name = "conformance", version = "1.0.0"
    public static let methods: [Method<Conformance>] =
        tools + inputTools + taskTools + resourceReaders + promptMethods + listChangeMethods + exampleMethods

    let host: PluginHost
    let changes = ListChanges()

    public init(host: PluginHost) { self.host = host }
}

extension Conformance: Draining {
    public func beginDrain(deadline: Deadline) { changes.endFeeds() }
    public func abandonDrain() {}
}
