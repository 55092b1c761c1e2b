import Glibc

/// The drop directories: says which libraries and folders came, changed or went.
///
/// One is reported only when nobody has written it, or the manifest beside it, or anything in it, for `settle`, so that a
/// half-copied one is never taken. Scan when inotify says so, again while `isSettling`, and now and then besides, because inotify
/// does not see what happens on another machine's side of a network mount.
package struct Inbox {
    package enum Change: Sendable, Hashable {
        /// New, or not what it was: take it.
        case ready(String)
        case removed(String)
    }

    /// What it consists of, by path.
    private typealias Entry = [String: FileStamp]

    private let directories: [String]
    private let settle: Duration
    private var seen: [String: (entry: Entry, since: ContinuousClock.Instant, isReported: Bool)] = [:]

    package init(directories: [String], settle: Duration = .milliseconds(200)) {
        self.directories = directories
        self.settle = settle
    }

    /// Something changed too recently to be reported: scan again after `settle`.
    package var isSettling: Bool { seen.values.contains { !$0.isReported } }

    /// One look at the directories. A directory that cannot be read keeps what it had: a mount that is gone for a moment
    /// must not stop plugins.
    package mutating func scan(now: ContinuousClock.Instant = .now) -> [Change] {
        var changes: [Change] = []
        for directory in directories {
            guard let names = Self.libraries(in: directory) else { continue }
            let paths = Set(names.map { "\(directory)/\($0)" })
            for path in seen.keys.sorted() where Self.directory(of: path) == directory && !paths.contains(path) {
                // Also when its last change was not reported yet: an earlier one was, perhaps.
                seen[path] = nil
                changes.append(.removed(path))
            }
            for path in paths.sorted() {
                if observe(path, now) { changes.append(.ready(path)) }
            }
        }
        return changes
    }

    /// Has the file reported again, although it did not change: it was not stable after all.
    package mutating func retry(_ path: String) { seen[path] = nil }

    private mutating func observe(_ path: String, _ now: ContinuousClock.Instant) -> Bool {
        guard let entry = Self.entry(path) else { return false }
        guard let known = seen[path], known.entry == entry else {
            // What was written long ago need not be watched first.
            let isOld = entry.values.allSatisfy { $0.age > settle }
            seen[path] = (entry, now, isOld)
            return isOld
        }
        guard !known.isReported, now - known.since >= settle else { return false }
        seen[path] = (entry, known.since, true)
        return true
    }

    /// The folders to watch besides the drop directories: those of plugins, and all in them.
    var folders: [String] {
        seen.flatMap { path, seen in
            PluginFolder.isOne(path) ? seen.entry.keys.filter { $0.hasSuffix("/") }.map { "\(path)/\($0)" } : []
        }
    }

    static func isPlugin(_ name: String) -> Bool { (name.hasSuffix(".so") || PluginFolder.isOne(name)) && !name.hasPrefix(".") }

    private static func entry(_ path: String) -> Entry? {
        if PluginFolder.isOne(path) { return DirectoryTree.stamps(path) }
        guard let library = stamp(path) else { return nil }
        let sidecar = ManifestSource.sidecarPath(of: path)
        return [path: library].merging(stamp(sidecar).map { [sidecar: $0] } ?? [:]) { own, _ in own }
    }

    private static func stamp(_ path: String) -> FileStamp? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return FileStamp(status)
    }

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    /// The names ending in `.so` or `.knap`; hidden ones are somebody's temporary files. None when the directory cannot be read.
    private static func libraries(in directory: String) -> [String]? {
        guard let names = readDirectory(directory) else { return errno == ENOENT ? [] : nil }
        return names.filter(isPlugin)
    }
}
