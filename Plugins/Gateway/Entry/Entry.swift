import CKnap
import Gateway
import KnapPlugin

@c(knap_plugin_draft) public func entry() -> UnsafePointer<knap_plugin_t>? { exportPlugin(GatewayPlugin.self) }
