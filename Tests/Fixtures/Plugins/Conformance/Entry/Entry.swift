import CKnap
import ConformanceFixture
import KnapPlugin

@c(knap_plugin_draft) public func entry() -> UnsafePointer<knap_plugin_t>? { exportPlugin(Conformance.self) }
