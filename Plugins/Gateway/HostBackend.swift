import KnapJSON
import KnapPlugin

/// The way to the plugins through the host.
///
/// Not `settled` at once: the gateway requires no plugin, so at the start of the host it can be asked for its lists
/// before those that have something to list are active.
struct HostBackend: Backend {
    let host: PluginHost
    /// Nil for calls that wait for nobody.
    let startup: Startup?
    /// The call that the session serves; nil over HTTP, where each request is a beginning of its own.
    let parent: Call?
    /// On whose behalf calls are made; where there is a parent its principal is the parent's.
    let caller: Caller

    var detached: any Backend { HostBackend(host: host, startup: startup, parent: nil, caller: caller) }

    func settled() async { await startup?.settled() }

    func call(
        _ call: BackendCall, onNote: @escaping @Sendable (BackendNote) async -> Void
    ) async throws(CallFailure) -> BackendReply {
        do throws(PluginError) {
            let outgoing = try await host.services.bind(call.method)
                .open(
                    call.body, parent: parent, principal: parent == nil ? principal : nil,
                    trace: parent == nil ? call.trace : nil, sends: false)
            // Cancelling this task makes `next` and `result` give the call up.
            var items = outgoing.items.makeAsyncIterator()
            while let item = try await items.next() { await forward(item, to: onNote) }
            let reply = try await outgoing.result()
            return BackendReply(body: reply.body, contentType: reply.contentType)
        } catch {
            throw CallFailure(error)
        }
    }

    private func forward(_ item: Item, to onNote: @Sendable (BackendNote) async -> Void) async {
        switch item.kind {
        case .progress: if let json = try? JSON.parse(item.body) { await onNote(.progress(json)) }
        case .log: if let json = try? JSON.parse(item.body) { await onNote(.log(json)) }
        case .data: await onNote(.data(item.body))
        case .request, .reply: break
        }
    }
}

extension CallFailure {
    init(_ error: PluginError) {
        self.init(Code(rawValue: error.code.description) ?? .unknown, error.message, details: error.details)
    }
}
