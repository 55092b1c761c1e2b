import CKnap
import GreeterFixture
import KnapPlugin

@c(knap_plugin_draft) public func entry() -> UnsafePointer<knap_plugin_t>? { exportPlugin(Greeter.self) }
