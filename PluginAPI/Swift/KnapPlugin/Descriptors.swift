import CKnap

/// File descriptors that the host keeps for this plugin across reload, crash and restart, such as a listening socket.
public struct Descriptors: Sendable {
    let link: HostLink

    /// Leaves a duplicate of the descriptor with the host, in place of an earlier one of that name.
    public func keep(_ name: String, _ descriptor: Int32) throws(PluginError) {
        try link.use(link.extensions.descriptors, KNAP_EXT_DESCRIPTORS) { host, table throws(PluginError) in
            try PluginError.check(name.withText { table.keep(host, $0, descriptor) }, "keep the descriptor \(name)")
        }
    }

    /// A duplicate, close-on-exec and the caller's to close, of what is kept under a name; nil where nothing is.
    public func take(_ name: String) -> Int32? {
        let taken = link.use { host -> Int32? in
            guard let table = link.extensions.descriptors?.pointee else { return nil }
            var descriptor: Int32 = -1
            return name.withText { table.take(host, $0, &descriptor) } == 0 ? descriptor : nil
        }
        return taken ?? nil
    }

    /// Forgets what is kept under a name.
    public func drop(_ name: String) {
        _ = link.use { host in
            if let table = link.extensions.descriptors?.pointee { _ = name.withText { table.drop(host, $0) } }
        }
    }
}
