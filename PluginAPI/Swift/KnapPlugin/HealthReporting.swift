import CKnap
import KnapJSON

/// Whether an active plugin can do its work, and what a person should know about it.
public struct Health: Sendable, Hashable {
    public enum Status: Int32, Sendable, Hashable {
        case healthy = 0
        /// Goes on serving.
        case degraded = 1
        /// Restarted, as the manifest says.
        case unhealthy = 2
    }

    public var status: Status
    public var details: JSONObject

    public init(_ status: Status, _ details: JSONObject = JSONObject()) {
        self.status = status
        self.details = details
    }
}

/// A plugin that says how it is.
public protocol HealthReporting: Plugin {
    /// Asked from time to time; returns within a millisecond.
    var health: Health { get }
}

extension ExtensionTables {
    static func health() -> knap_plugin_health_t {
        knap_plugin_health_t(
            size: UInt32(MemoryLayout<knap_plugin_health_t>.size), reserved: 0,
            check: { instance, out in
                Instance.with(instance) { instance in
                    let health = instance.conformances.health?.health ?? Health(.healthy)
                    out?.write(Reply(json: .object(health.details)).body)
                    return health.status.rawValue
                }
            })
    }
}
