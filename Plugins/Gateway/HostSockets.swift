import KnapPlugin

/// Sockets that the host keeps while one generation hands over to the next.
struct HostSockets: SocketKeeper {
    let host: PluginHost

    func take(_ name: String) -> Int32? { host.descriptors.take(name) }

    /// Where the host cannot keep it, a reload binds anew: worth a line in the log, and no more.
    func keep(_ name: String, socket: Int32) {
        do {
            try host.descriptors.keep(name, socket)
        } catch {
            host.log.warn("the listening socket is not kept over reloads", ["reason": error])
        }
    }
}
