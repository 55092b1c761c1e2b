import CKnap
import Glibc
import Synchronization

/// `knap.descriptors/1`: file descriptors that outlive the instance that left them.
enum DescriptorsExtension {
    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let table = permanent(
        knap_host_descriptors_t(
            size: size(of: knap_host_descriptors_t.self), reserved: 0,
            keep: { host, name, descriptor in
                guard let host else { return KNAP_INVALID_ARGUMENT.status }
                let context = InstanceContext.of(host)
                return context.descriptors.keep(descriptor, plugin: context.plugin, name: String(text: name))
                    ? 0 : KNAP_INVALID_ARGUMENT.status
            },
            take: { host, name, descriptor in
                guard let host, let descriptor else { return KNAP_INVALID_ARGUMENT.status }
                let context = InstanceContext.of(host)
                guard let taken = context.descriptors.take(plugin: context.plugin, name: String(text: name)) else {
                    return KNAP_NOT_FOUND.status
                }
                descriptor.pointee = taken
                return 0
            },
            drop: { host, name in
                guard let host else { return KNAP_INVALID_ARGUMENT.status }
                let context = InstanceContext.of(host)
                return context.descriptors.drop(plugin: context.plugin, name: String(text: name))
                    ? 0 : KNAP_NOT_FOUND.status
            }))
}

/// The descriptors that plugins left with the host, by plugin and name.
final class DescriptorStore: Sendable {
    private struct Key: Hashable {
        let plugin: String
        let name: String
    }

    private let kept = Mutex<[Key: Int32]>([:])

    /// False when the descriptor is not open.
    func keep(_ descriptor: Int32, plugin: String, name: String) -> Bool {
        let duplicate = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard duplicate >= 0 else { return false }
        let replaced = kept.withLock { kept in
            defer { kept[Key(plugin: plugin, name: name)] = duplicate }
            return kept[Key(plugin: plugin, name: name)]
        }
        if let replaced { close(replaced) }
        return true
    }

    func take(plugin: String, name: String) -> Int32? {
        kept.withLock { kept in
            guard let descriptor = kept[Key(plugin: plugin, name: name)] else { return nil }
            let duplicate = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
            return duplicate >= 0 ? duplicate : nil
        }
    }

    func drop(plugin: String, name: String) -> Bool {
        guard let descriptor = kept.withLock({ $0.removeValue(forKey: Key(plugin: plugin, name: name)) }) else {
            return false
        }
        close(descriptor)
        return true
    }
}
