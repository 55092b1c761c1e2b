import CKnap
import KnapPlugin

/// The tables that the host offers, by id. One per process: they find their instance through the host pointer.
enum ExtensionTables {
    static func table(_ id: String, for host: UnsafePointer<knap_host_t>) -> UnsafeRawPointer? {
        switch id {
        case KNAP_EXT_LOG: UnsafeRawPointer(LogExtension.table)
        case KNAP_EXT_CONFIG: UnsafeRawPointer(ConfigurationExtension.table)
        case KNAP_EXT_STATE_DIRECTORY: UnsafeRawPointer(StateDirectoryExtension.table)
        case KNAP_EXT_SERVICES: UnsafeRawPointer(ServicesExtension.table(for: InstanceContext.of(host)))
        case KNAP_EXT_REGISTRY: UnsafeRawPointer(RegistryExtension.table)
        case KNAP_EXT_TIMERS: UnsafeRawPointer(TimersExtension.table)
        case KNAP_EXT_DESCRIPTORS: UnsafeRawPointer(DescriptorsExtension.table)
        case KNAP_EXT_NET: UnsafeRawPointer(NetExtension.table)
        default: nil
        }
    }
}
