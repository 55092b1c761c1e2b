import CKnap
import KnapPlugin
import Obsidian

/// The one symbol that the library exports.
@c(knap_plugin_draft) public func entry() -> UnsafePointer<knap_plugin_t>? { exportPlugin(ObsidianPlugin.self) }
