import Glibc
import KnapPlugin
import Synchronization

/// The user that a worker runs as.
struct WorkerUser: Sendable, Equatable {
    /// 0: the host's.
    var number: UInt32 = 0
    /// Why it is the host's.
    var reason = ""
}

/// Users of their own for workers, when the host is root: one for each plugin, so that the kernel keeps their processes and
/// files apart from each other and from the host, whatever else fails.
///
/// They are numbers without names, from a range that is nobody else's (systemd's for dynamic users). A plugin's number
/// follows from the host's state directory and the plugin's name; its state directory is given to it, and its library's
/// copy to its group. Calls block on the disk.
final class WorkerUsers: Sendable {
    private struct State {
        var range: ClosedRange<UInt32>?
        var numbers: [String: UInt32] = [:]
        /// State directories in which all belongs to their user, as far as this host knows.
        var given: Set<String> = []
    }

    private let directory: String
    private let state = Mutex(State())

    /// `state`: the host's state directory.
    init(state directory: String) { self.directory = directory }

    /// Takes numbers from `range`, such as "61184-65519", from now on; an empty one: none.
    func use(_ range: String) {
        let bounds = range.split(separator: "-").compactMap { UInt32($0) }
        state.withLock { state in
            let range = bounds.count == 2 && 0 < bounds[0] && bounds[0] <= bounds[1] ? bounds[0]...bounds[1] : nil
            if range != state.range { state.numbers = [:] }
            state.range = range
        }
    }

    /// The user for a worker of this plugin, after its files were given to it.
    func user(of manifest: Manifest, library: String, directory: String) -> WorkerUser {
        if let reason = reasonAgainst(manifest) { return WorkerUser(reason: reason) }
        guard let number = number(of: manifest.name) else {
            return WorkerUser(reason: "the numbers in host.worker_users are used up")
        }
        do throws(StoreError) {
            try give(directory, to: number)
            try openStore(to: number, library)
            return WorkerUser(number: number)
        } catch {
            return WorkerUser(reason: error.message)
        }
    }

    /// Code of a plugin is to run in this process: gives its state directory back to the host's user. `isFree`: no worker
    /// uses it.
    func takeBack(_ directory: String, isFree: Bool) {
        state.withLock { _ = $0.given.remove(directory) }
        var status = stat()
        guard isFree, geteuid() == 0, stat(directory, &status) == 0, status.st_uid != 0 else { return }
        try? DirectoryTree.give(directory, to: 0)
    }

    private func reasonAgainst(_ manifest: Manifest) -> String? {
        if geteuid() != 0 { return "the host does not run as root" }
        if state.withLock({ $0.range }) == nil { return "host.worker_users names none" }
        let files = manifest.permissions.readPaths + manifest.permissions.writePaths
        if !files.isEmpty { return "it was granted files of the host's user" }
        return closedDirectory.map { "\($0) is closed to other users, and the state directory is in it" }
    }

    /// The first directory on the way to the host's that others may not pass.
    private var closedDirectory: String? {
        var path = ""
        for part in directory.split(separator: "/").dropLast() {
            path += "/\(part)"
            var status = stat()
            if stat(path, &status) != 0 || status.st_mode & S_IXOTH == 0 { return path }
        }
        return nil
    }

    private func number(of plugin: String) -> UInt32? {
        state.withLock { state in
            guard let range = state.range else { return nil }
            if let known = state.numbers[plugin] { return known }
            let taken = Set(state.numbers.values)
            guard taken.count < range.count else { return nil }
            let digest = SHA256.digest(Array("\(directory)\n\(plugin)".utf8))
            var place = digest.bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) } % range.count
            while taken.contains(range.lowerBound + UInt32(place)) { place = (place + 1) % range.count }
            let number = range.lowerBound + UInt32(place)
            state.numbers[plugin] = number
            return number
        }
    }

    private func give(_ directory: String, to number: UInt32) throws(StoreError) {
        var status = stat()
        let isKnown = state.withLock { $0.given.contains(directory) }
        // One that was put in its place, such as an older copy, belongs to whoever put it there.
        if isKnown, stat(directory, &status) == 0, status.st_uid == number { return }
        try DirectoryTree.give(directory, to: number)
        state.withLock { _ = $0.given.insert(directory) }
    }

    /// Lets the plugin's group, and nobody else, read its library; and others pass, but not list, the directories above.
    private func openStore(to group: UInt32, _ library: String) throws(StoreError) {
        func check(_ succeeded: Bool, _ path: String) throws(StoreError) {
            if !succeeded { throw .system(.output, "it cannot be opened to its worker", path) }
        }
        for path in ["", "/data", "/store"].map({ directory + $0 }) { try check(chmod(path, 0o711) == 0, path) }
        var path = directory + "/store"
        guard library.hasPrefix(path + "/") else { return }
        for part in library.dropFirst(path.count).split(separator: "/") {
            path += "/\(part)"
            var status = stat()
            try check(stat(path, &status) == 0, path)
            if PluginFolder.isOne(path) { return try DirectoryTree.lend(path, to: group) }
            if status.st_gid == group { continue }
            let isDirectory = status.st_mode & S_IFMT == S_IFDIR
            // The group last: whoever sees it finds the mode set.
            try check(chmod(path, isDirectory ? 0o750 : 0o440) == 0 && chown(path, 0, group) == 0, path)
        }
    }
}
