import CLinux
import Glibc
import KnapPlugin
import Synchronization

/// A library that `dlopen` mapped, once for each generation that uses it.
struct LoadedImage: Sendable {
    nonisolated(unsafe) let handle: UnsafeMutableRawPointer  // the loader's own, safe on any thread
    private let path: String
    private let reasonToStay: String?

    /// The process's images of plugins, by path.
    private struct Images {
        var users: [String: Int] = [:]
        /// Those that stay for ever because there is Swift in them, with the plugin's name.
        var swift: [String: (plugin: String, cost: SwiftCost)] = [:]
    }
    // Held while the loader works: a library must not be opened while it is being closed.
    private static let images = Mutex(Images())

    static func open(_ path: String, _ artifact: Artifact) throws(PluginError) -> LoadedImage {
        let reason = artifact.images.lazy.compactMap(\.reasonToStay).first
        // NODELETE where it must stay: nothing may unmap it, whatever else opens and closes it.
        let flags = RTLD_NOW | RTLD_LOCAL | (reason == nil ? 0 : Int32(RTLD_NODELETE))
        let opened: Result<LoadedImage, PluginError> = images.withLock { images in
            if let conflict = PrivateLibraries.conflict(of: artifact) { return .failure(conflict) }
            guard let handle = dlopen(path, flags) else {
                let why = dlerror().map { String(cString: $0) } ?? "unknown reason"
                return .failure(
                    PluginError(code: .failedPrecondition, message: "\(artifact.manifest.name) cannot be loaded: \(why)"))
            }
            images.users[path, default: 0] += 1
            if let cost = SwiftCost(artifact) { images.swift[path] = (artifact.manifest.name, cost) }
            return .success(LoadedImage(handle: handle, path: path, reasonToStay: reason))
        }
        return try opened.get()
    }

    func close() -> Residence {
        Self.images.withLock { images in
            images.users[path, default: 1] -= 1
            let isLast = images.users[path] == 0
            if isLast { images.users[path] = nil }
            dlclose(handle)
            if let reasonToStay { return .retained(reasonToStay) }
            guard isLast else { return .shared }
            return knap_is_mapped(path) == 0 ? .unloaded : .retained("the loader kept it, as for pending thread-local destructors")
        }
    }

    /// Why this content may not be loaded beside what stays of other generations; nil when it may.
    static func refusal(_ artifact: Artifact, _ budget: SwiftBudget) -> String? {
        guard let cost = SwiftCost(artifact) else { return nil }
        return images.withLock { images in
            if images.swift[artifact.path] != nil { return nil }  // it would be no new image
            let isFirst = !images.swift.values.contains { $0.plugin == artifact.manifest.name }
            let loaded = images.swift.values.map(\.cost)
            return isFirst ? nil : budget.refusal(of: cost, beside: loaded, artifact.manifest.name)
        }
    }
}

/// What an image with Swift in it costs for as long as the process lives.
struct SwiftCost: Sendable, Equatable {
    /// Every failed cast that is not in the runtime's cache looks at each.
    var conformances: Int
    var bytes: Int

    init(conformances: Int, bytes: Int) {
        self.conformances = conformances
        self.bytes = bytes
    }

    /// Nil when there is no Swift in it.
    init?(_ artifact: Artifact) {
        let images = artifact.images.filter { $0.runtimes.contains(.swift) }
        guard !images.isEmpty else { return nil }
        self.init(
            conformances: images.reduce(0) { $0 + $1.conformances }, bytes: images.reduce(0) { $0 + $1.loadedBytes })
    }
}

/// How much old generations of Swift plugins may leave in the host's process, which can never unload them.
struct SwiftBudget: Sendable {
    var conformances: Int
    var bytes: Int

    /// Why another image is too much; nil when there is room.
    func refusal(of new: SwiftCost, beside loaded: [SwiftCost], _ plugin: String) -> String? {
        let conformances = loaded.reduce(new.conformances) { $0 + $1.conformances }
        let bytes = loaded.reduce(new.bytes) { $0 + $1.bytes }
        guard conformances > self.conformances || bytes > self.bytes else { return nil }
        return "\(plugin): Swift code stays in the host's process for ever, and with this version \(loaded.count + 1) images with "
            + "\(conformances) protocol conformances in \(bytes >> 20) MiB would be there (allowed are \(self.conformances) and "
            + "\(self.bytes >> 20) MiB); restart the host, or 'knap plugins isolate \(plugin) worker'"
    }
}

/// Where this process loaded the library from that the loader would take for `name`; nil: it did not.
func loadedPath(of name: String) -> String? {
    var path = [CChar](repeating: 0, count: 4096)
    guard knap_loaded_as(name, &path, UInt64(path.count)) == 0 else { return nil }
    return String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
