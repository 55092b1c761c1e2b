import CKnap
import Glibc
import Synchronization

/// The way to the host: usable from every thread until the instance is destroyed, and harmless afterwards.
///
/// The host's pointer is valid until `destroy` has returned, but a task that the plugin forgot about may live longer.
/// So each use is counted; closing refuses new ones and waits for those under way, which are as short as one host
/// function.
final class HostLink: Sendable {
    /// What the host offers, looked up once. The tables live as long as the host's pointer.
    struct Extensions {
        let log: UnsafePointer<knap_host_log_t>?
        let config: UnsafePointer<knap_host_config_t>?
        let stateDirectory: UnsafePointer<knap_host_state_directory_t>?
        let services: UnsafePointer<knap_host_services_t>?
        let registry: UnsafePointer<knap_host_registry_t>?
        let timers: UnsafePointer<knap_host_timers_t>?
        let descriptors: UnsafePointer<knap_host_descriptors_t>?
        let network: UnsafePointer<knap_host_net_t>?
    }

    // Immutable pointers to tables that the host lets every thread read.
    nonisolated(unsafe) let host: UnsafePointer<knap_host_t>
    nonisolated(unsafe) let calls: UnsafePointer<knap_calls_t>
    nonisolated(unsafe) let extensions: Extensions

    /// Uses under way, and in the sign bit whether the link is closed.
    private let uses = Atomic<Int>(0)

    init(_ host: UnsafePointer<knap_host_t>) throws(PluginError) {
        guard Self.isComplete(host, size: host.pointee.size), let calls = host.pointee.calls,
            Self.isComplete(calls, size: calls.pointee.size)
        else { throw PluginError(code: .failedPrecondition, message: "The host is older than this plugin's SDK.") }
        self.host = host
        self.calls = calls
        extensions = Extensions(
            log: Self.table(host, KNAP_EXT_LOG, size: \.size),
            config: Self.table(host, KNAP_EXT_CONFIG, size: \.size),
            stateDirectory: Self.table(host, KNAP_EXT_STATE_DIRECTORY, size: \.size),
            services: Self.table(host, KNAP_EXT_SERVICES, size: \.size),
            registry: Self.table(host, KNAP_EXT_REGISTRY, size: \.size),
            timers: Self.table(host, KNAP_EXT_TIMERS, size: \.size),
            descriptors: Self.table(host, KNAP_EXT_DESCRIPTORS, size: \.size),
            network: Self.table(host, KNAP_EXT_NET, size: \.size))
    }

    /// Runs `body` with the host's pointer; nil once the link is closed.
    func use<R, E: Error>(_ body: (UnsafePointer<knap_host_t>) throws(E) -> R) throws(E) -> R? {
        defer { uses.subtract(1, ordering: .releasing) }
        guard uses.add(1, ordering: .acquiring).oldValue >= 0 else { return nil }
        return try body(host)
    }

    /// Runs `body` with the host's pointer and the table of an extension that this host may lack.
    func use<Table, R>(
        _ table: UnsafePointer<Table>?, _ id: String,
        _ body: (UnsafePointer<knap_host_t>, Table) throws(PluginError) -> R
    ) throws(PluginError) -> R {
        guard let table else { throw .missing(id) }
        let result = try use { host throws(PluginError) in try body(host, table.pointee) }
        guard let result else { throw .unloaded }
        return result
    }

    /// Refuses all further uses and waits for those under way. Not from inside one.
    func close() {
        uses.bitwiseOr(.min, ordering: .acquiringAndReleasing)
        while uses.load(ordering: .acquiring) & .max != 0 { usleep(50) }
    }

    /// Whether a table reaches as far as this SDK knows it: a table grows at its end, so an older one is shorter.
    private static func isComplete<T>(_ table: UnsafePointer<T>, size: UInt32) -> Bool {
        Int(size) >= MemoryLayout<T>.size
    }

    private static func table<T>(
        _ host: UnsafePointer<knap_host_t>, _ id: String, size: KeyPath<T, UInt32>
    ) -> UnsafePointer<T>? {
        guard let table = host.pointee.extension?(host, id)?.assumingMemoryBound(to: T.self),
            isComplete(table, size: table.pointee[keyPath: size])
        else { return nil }
        return table
    }
}
