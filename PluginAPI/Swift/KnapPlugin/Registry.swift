import CKnap
import KnapJSON

/// What one plugin contributes to an extension point.
public struct Contribution: Sendable, Hashable {
    public let plugin: String
    public let version: String
    public let firstParty: Bool
    /// As the plugin's manifest has it, checked against the point's schema.
    public let item: JSON
    /// The manifest's entry of the method that the item names.
    public let method: JSON?

    public init(plugin: String, version: String, firstParty: Bool, item: JSON, method: JSON? = nil) {
        self.plugin = plugin
        self.version = version
        self.firstParty = firstParty
        self.item = item
        self.method = method
    }
}

/// All contributions to a point at one moment. The epoch rises with every change.
public struct RegistrySnapshot: Sendable, Hashable {
    public let epoch: UInt64
    public let contributions: [Contribution]

    public init(epoch: UInt64, contributions: [Contribution]) {
        self.epoch = epoch
        self.contributions = contributions
    }

    init(_ json: JSON) {
        epoch = json["epoch"]?.intValue.flatMap { UInt64(exactly: $0) } ?? 0
        contributions = (json["contributions"]?.arrayValue ?? []).compactMap { entry in
            guard let plugin = entry["plugin"]?.stringValue, let item = entry["item"] else { return nil }
            return Contribution(
                plugin: plugin, version: entry["version"]?.stringValue ?? "",
                firstParty: entry["first_party"]?.boolValue ?? false, item: item, method: entry["method"])
        }
    }
}

/// What active plugins contribute to extension points ("mcp", "http", "pages", …).
public struct Registry: Sendable {
    let link: HostLink
    let activities: Activities

    /// What the point shows now.
    public func snapshot(of point: String) throws(PluginError) -> RegistrySnapshot {
        let bytes = try link.use(link.extensions.registry, KNAP_EXT_REGISTRY) { host, table throws(PluginError) in
            try point.withText { text throws(PluginError) in
                try [UInt8].written("read the point \(point)") { table.read(host, text, $0) }
            }
        }
        return RegistrySnapshot(
            try Body.decode(JSON.self, from: bytes, of: "The snapshot of \(point)", code: .internal))
    }

    /// The snapshot now and after every change, the latest only: a slow reader skips what is outdated.
    ///
    /// Ends when the instance is suspended (so `activate` is the place to start reading), when the reading task is
    /// cancelled, or, with an error in the log, when the host cannot say.
    public func snapshots(of point: String) -> AsyncStream<RegistrySnapshot> {
        let (changes, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let watch: RegistryWatch
        do {
            watch = try RegistryWatch(point, changes: continuation, link: link, activities: activities)
        } catch {
            Log(link: link).error("registry cannot be watched", ["point": point, "error": error])
            return AsyncStream { $0.finish() }
        }
        continuation.yield()
        let reader = SnapshotReader(registry: self, point: point, watch: watch, changes: changes)
        return AsyncStream { await reader.next() }
    }
}

/// Reads a snapshot for every change. The stream that it feeds holds it, and it holds the watch.
private struct SnapshotReader: Sendable {
    let registry: Registry
    let point: String
    let watch: RegistryWatch
    let changes: AsyncStream<Void>

    func next() async -> RegistrySnapshot? {
        for await _ in changes {
            do {
                return try registry.snapshot(of: point)
            } catch {
                Log(link: registry.link).error("registry cannot be read", ["point": point, "error": error])
                return nil
            }
        }
        return nil
    }
}

/// A watch with the host, ended by its deinit. What the host calls is a separate object that the watch keeps until
/// `unwatch` has returned, after which the host is not using it.
private final class RegistryWatch: Sendable {
    private final class Changes: Sendable {
        let continuation: AsyncStream<Void>.Continuation
        init(_ continuation: AsyncStream<Void>.Continuation) { self.continuation = continuation }
    }

    private let link: HostLink
    private let activities: Activities
    private let changes: Changes
    private let id: UInt64
    private let activity: UInt64
    // The host reads the table while it watches; freed in deinit, after `unwatch`.
    nonisolated(unsafe) private let table: UnsafeMutablePointer<knap_registry_watch_t>

    init(
        _ point: String, changes continuation: AsyncStream<Void>.Continuation, link: HostLink, activities: Activities
    ) throws(PluginError) {
        let changes = Changes(continuation)
        let table = UnsafeMutablePointer<knap_registry_watch_t>.allocate(capacity: 1)
        table.initialize(
            to: knap_registry_watch_t(size: UInt32(MemoryLayout<knap_registry_watch_t>.size), reserved: 0) {
                context, _ in
                guard let context else { return }
                Unmanaged<Changes>.fromOpaque(context).takeUnretainedValue().continuation.yield()
            })
        do throws(PluginError) {
            id = try link.use(link.extensions.registry, KNAP_EXT_REGISTRY) { host, registry throws(PluginError) in
                var id: UInt64 = 0
                let context = Unmanaged.passUnretained(changes).toOpaque()
                let status = point.withText { registry.watch(host, $0, table, context, &id) }
                try PluginError.check(status, "watch the point \(point)")
                return id
            }
        } catch {
            table.deallocate()
            throw error
        }
        self.link = link
        self.activities = activities
        self.changes = changes
        self.table = table
        activity = activities.add { continuation.finish() }
    }

    deinit {
        activities.remove(activity)
        _ = link.use { host in link.extensions.registry?.pointee.unwatch(host, id) }
        table.deallocate()
        changes.continuation.finish()
    }
}
