import CKnap

/// `knap.config/1`: the instance's configuration, as it was when the instance was made.
enum ConfigurationExtension {
    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let table = permanent(
        knap_host_config_t(
            size: size(of: knap_host_config_t.self), reserved: 0,
            read: { host, out in
                guard let host, let out else { return KNAP_INVALID_ARGUMENT.status }
                out.pointee.put(InstanceContext.of(host).configuration)
                return 0
            }))
}

/// `knap.state-directory/1`: where the plugin keeps its files.
enum StateDirectoryExtension {
    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let table = permanent(
        knap_host_state_directory_t(
            size: size(of: knap_host_state_directory_t.self), reserved: 0,
            path: { host, out in
                guard let host, let out else { return KNAP_INVALID_ARGUMENT.status }
                out.pointee.put(InstanceContext.of(host).stateDirectory)
                return 0
            }))
}

/// Status codes of the ABI are an enum without a type in C; functions return them as 32 bits.
extension BinaryInteger {
    var status: knap_status_t { knap_status_t(truncatingIfNeeded: self) }
}
