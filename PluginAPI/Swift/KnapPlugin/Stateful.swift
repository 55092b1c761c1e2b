import CKnap

/// A plugin that carries what is in memory from one generation to the next during a reload.
///
/// The host calls `save` on the old instance after its suspension and `load` on the new one before its activation.
/// After a crash there is nothing to load: start from durable state.
public protocol Stateful: Plugin {
    /// The version of what `save` writes; raise it with every change of format.
    static var stateSchema: UInt32 { get }
    func save() throws -> [UInt8]
    /// Takes what a generation with the given schema saved. An error refuses it, and the reload is undone.
    func load(_ state: [UInt8], schema: UInt32) throws
}

extension ExtensionTables {
    static func state(schema: UInt32) -> knap_plugin_state_t {
        knap_plugin_state_t(
            size: UInt32(MemoryLayout<knap_plugin_state_t>.size), schema: schema,
            save: { instance, out in
                Instance.with(instance) { instance in
                    instance.attempt("save") {
                        if let state = try instance.conformances.stateful?.save() { out?.write(state) }
                    }
                }
            },
            load: { instance, schema, state in
                Instance.with(instance) { instance in
                    instance.attempt("load") {
                        try instance.conformances.stateful?.load([UInt8](state), schema: schema)
                    }
                }
            })
    }
}

extension Instance {
    /// Runs a synchronous hook; its error goes to the log and its code to the host.
    fileprivate func attempt(_ hook: String, _ body: () throws -> Void) -> knap_status_t {
        do {
            try body()
            return 0
        } catch {
            let error = PluginError(mapping: error, cancellation: nil)
            pluginHost.log.error("hook failed", ["hook": hook, "code": error.code, "error": error.message])
            return error.code.rawValue
        }
    }
}
