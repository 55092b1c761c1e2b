import CKnap

/// A plugin that converts what is on disk once an upgrade stands.
///
/// Until then the old version may return, so formats change only by addition. Also called right after the activation of
/// an instance that nothing can be returned from: find nothing to do the second time.
public protocol Committing: Plugin {
    /// The host will not return to the version before this one. The plugin serves meanwhile.
    func committed(_ hook: Call) async throws
}

extension ExtensionTables {
    static func committed() -> knap_plugin_committed_t {
        knap_plugin_committed_t(
            size: UInt32(MemoryLayout<knap_plugin_committed_t>.size), reserved: 0,
            committed: { instance, call in
                Instance.with(instance) { instance in
                    let committing = instance.conformances.committing
                    instance.runHook(call) { try await committing?.committed($1) }
                }
            })
    }
}
