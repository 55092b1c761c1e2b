import Glibc

/// Copies of plugins' state directories from before a new version could touch them: STATE/checkpoints/NAME.
///
/// Every step leaves, if the process ends in it, a state that the same step or `sweep` completes. All calls block on the
/// disk.
struct Checkpoints: Sendable {
    private let directory: String
    private let data: String

    /// `state` is the host's state directory.
    init(state: String) {
        directory = state + "/checkpoints"
        data = state + "/data"
    }

    private func checkpoint(_ name: String) -> String { "\(directory)/\(name)" }
    private func part(_ name: String) -> String { "\(directory)/.\(name).part" }
    private func placing(_ name: String) -> String { "\(directory)/.\(name).placing" }
    private func aside(_ name: String) -> String { "\(directory)/.\(name).aside" }

    /// Copies the plugin's state directory; whole and on disk when it returns.
    func take(_ name: String) throws(StoreError) {
        try StoreDirectory.create(directory)
        DirectoryTree.remove(part(name))
        DirectoryTree.remove(checkpoint(name))
        do throws(StoreError) {
            try DirectoryTree.copy("\(data)/\(name)", to: part(name), limit: try halfOfFreeSpace())
        } catch {
            DirectoryTree.remove(part(name))
            throw error
        }
        DeathPoint.reached("checkpoint-copied")
        try move(part(name), checkpoint(name))
    }

    /// Puts the copy back in place of what the plugin has now. Does the rest when it was begun before.
    ///
    /// The directory itself stays, with other entries: a process that goes on may be confined to it. Under its own name
    /// the copy has not been touched; under the name `placing` all that was there is aside.
    func restore(_ name: String) throws(StoreError) {
        if access(checkpoint(name), F_OK) == 0 {
            if access(aside(name), F_OK) != 0 { try StoreDirectory.create(aside(name)) }
            try DirectoryTree.moveEntries(of: "\(data)/\(name)", to: aside(name))
            DeathPoint.reached("restore-aside")
            try move(checkpoint(name), placing(name))
        }
        if access(placing(name), F_OK) == 0 {
            DeathPoint.reached("restore-half")
            try DirectoryTree.moveEntries(of: placing(name), to: "\(data)/\(name)")
            DeathPoint.reached("restore-done")
            DirectoryTree.remove(placing(name))
        }
        DirectoryTree.remove(aside(name))
    }

    /// Nothing will be returned to.
    func discard(_ name: String) {
        DirectoryTree.remove(checkpoint(name))
        DirectoryTree.remove(part(name))
    }

    /// Removes what earlier hosts left, but for the copies of these plugins.
    func sweep(keeping names: Set<String>) {
        let kept = names.flatMap { [checkpoint($0), placing($0), aside($0)] }
        for name in readDirectory(directory) ?? [] where !kept.contains("\(directory)/\(name)") { DirectoryTree.remove("\(directory)/\(name)") }
    }

    private func move(_ from: String, _ to: String) throws(StoreError) {
        guard rename(from, to) == 0 else { throw .system(.output, "it cannot be put in place", to) }
        try StoreDirectory.synchronize(directoryOf: from)
        try StoreDirectory.synchronize(directoryOf: to)
    }

    private func halfOfFreeSpace() throws(StoreError) -> Int {
        var space = statvfs()
        guard statvfs(directory, &space) == 0 else { throw .system(.input, "its free space cannot be read", directory) }
        return Int(clamping: UInt64(space.f_bavail) * UInt64(space.f_frsize) / 2)
    }
}
