import CKnap

/// One instance of a plugin, as the host holds it: what `create` makes and `destroy` frees.
@usableFromInline final class Instance: @unchecked Sendable {  // Immutable; the pointers' targets outlive it.
    let plugin: any Plugin
    let link: HostLink
    let pluginHost: PluginHost
    /// The optional protocols that the plugin conforms to, cast once.
    let conformances: Conformances
    let extensions: ExtensionTables

    // What an inline method needs, without reference counting.
    @usableFromInline let reference: Unmanaged<AnyObject>
    @usableFromInline let calls: UnsafePointer<knap_calls_t>
    @usableFromInline let host: UnsafePointer<knap_host_t>
    let entries: UnsafePointer<Unmanaged<Entry>>

    /// What serves one method. An object whose reference is taken as guaranteed, because loading a closure from memory
    /// retains it.
    final class Entry: Sendable {
        let serve: @Sendable (Instance, UnsafePointer<knap_request_t>) -> Void

        init(serve: @escaping @Sendable (Instance, UnsafePointer<knap_request_t>) -> Void) { self.serve = serve }
    }

    @inline(__always)
    func serve(_ request: UnsafePointer<knap_request_t>) {
        entries[Int(request.pointee.method)]._withUnsafeGuaranteedRef { $0.serve(self, request) }
    }

    init(_ export: Export, host: UnsafePointer<knap_host_t>) throws {
        link = try HostLink(host)
        pluginHost = PluginHost(link)
        do {
            plugin = try export.type.init(host: pluginHost)
        } catch {
            let error = PluginError(mapping: error, cancellation: nil)
            pluginHost.log.error("plugin cannot be created", ["code": error.code, "error": error.message])
            link.close()
            throw error
        }
        conformances = Conformances(plugin)
        reference = .passUnretained(plugin)
        calls = link.calls
        self.host = host
        entries = export.entries
        extensions = export.extensions
    }

    /// The plugin as the type whose methods this instance serves.
    func plugin<P: Plugin>(as type: P.Type) -> P { unsafeDowncast(plugin, to: P.self) }

    func runHook(_ handle: knap_call_t, _ hook: @escaping @Sendable (any Plugin, Call) async throws -> Void) {
        let call = Call(handle, link: link)
        call.serve { [plugin] in
            try await hook(plugin, call)
            return Reply()
        }
    }

    /// Ends what waits for the host before the plugin's own `suspend`, so that it can wait for its tasks, and what
    /// that started after it.
    func suspend(_ handle: knap_call_t) {
        let activities = pluginHost.activities
        activities.endAll()
        runHook(handle) { plugin, call in
            defer { activities.endAll() }
            try await plugin.suspend(call)
        }
    }

    // MARK: - As the host's opaque pointer

    func retainedPointer() -> UnsafeMutableRawPointer { Unmanaged.passRetained(self).toOpaque() }

    static func destroy(_ pointer: UnsafeMutableRawPointer?) {
        guard let pointer else { return }
        let instance = Unmanaged<Instance>.fromOpaque(pointer).takeRetainedValue()
        instance.pluginHost.activities.endAll()
        instance.link.close()
    }

    /// Runs `body` with the instance that the host passed, without reference counting.
    @inline(__always)
    static func with<R>(_ pointer: UnsafeMutableRawPointer?, _ body: (Instance) -> R) -> R {
        // The host passes what `create` gave it, never null.
        Unmanaged<Instance>.fromOpaque(pointer.unsafelyUnwrapped)._withUnsafeGuaranteedRef(body)
    }
}
