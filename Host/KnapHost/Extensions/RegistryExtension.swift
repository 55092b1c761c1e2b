import CKnap

/// `knap.registry/1`: what active plugins contribute to a point.
enum RegistryExtension {
    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let table = permanent(
        knap_host_registry_t(
            size: size(of: knap_host_registry_t.self), reserved: 0,
            read: { host, point, out in
                guard let host, let out else { return KNAP_INVALID_ARGUMENT.status }
                out.pointee.put(InstanceContext.of(host).registry.snapshot(of: String(text: point)).serialized())
                return 0
            },
            watch: { host, point, watch, context, id in
                guard let host, let watch = watch?.pointee, let id else { return KNAP_INVALID_ARGUMENT.status }
                id.pointee = InstanceContext.of(host).registry.watch(
                    String(text: point),
                    ContributionRegistry.Watch(changed: watch.changed, context: context, generation: InstanceContext.of(host).id)
                )
                return 0
            },
            unwatch: { host, id in
                guard let host else { return }
                InstanceContext.of(host).registry.unwatch(id)
            }))
}
