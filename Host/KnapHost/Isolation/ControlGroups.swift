import CLinux
import Glibc
import KnapPlugin
import Synchronization

/// The kernel's control groups (cgroup v2), one for each worker: what it takes of memory of every kind, and its threads, are
/// counted and limited together. Limits of a process do not see memory that is shared or belongs to files.
///
///     OWN/                the host's group when it started; its alone, unless it is the root
///       knap-PID.host/    the host from then on: a group that gives its children controllers may hold no processes itself
///       knap-PID/
///         NAME.SERIAL/    a worker
///
/// The host's group must be the root of those that it sees, or have been given to it to divide, as systemd does for a service
/// with `Delegate=yes`.
/// See "Core Interface Files", "No Internal Process Constraint" and "Delegation" in the kernel's guide to cgroup v2. Calls
/// wait for the kernel alone.
final class ControlGroups: Sendable {
    private struct Place {
        /// The host's group when it started.
        let own: String
        let controllers: [String]
        /// In which the host is now, where it had to leave its own.
        var host: String?
        var workers: String { "\(own)/knap-\(getpid())" }
    }

    /// Where they are, or why there are none.
    private let place: Result<Place, PluginError>
    private let serial = Atomic<Int>(0)

    init(areWanted: Bool) {
        place = Result { () throws(PluginError) in
            guard areWanted else { throw PluginError(code: .unavailable, message: "this host was not asked to make any") }
            return try Self.prepare()
        }
    }

    /// Puts a worker of this plugin, which has run nothing of it yet, into a group with its limits.
    func confine(_ process: Int32, of manifest: Manifest) -> Result<ControlGroup, PluginError> {
        Result { () throws(PluginError) in
            let number = serial.add(1, ordering: .relaxed).newValue
            var group = ControlGroup(directory: "\(try place.get().workers)/\(manifest.name).\(number)")
            try makeGroup(group.directory)
            do throws(PluginError) {
                try group.limit(memoryBytes: manifest.limits.memoryBytes)
                try writeSetting("\(group.directory)/cgroup.procs", "\(process)")
            } catch {
                group.remove()
                throw error
            }
            return group
        }
    }

    /// Removes the groups and brings the host back into the one in which it started. Waits a moment for the last worker, which
    /// was ended before.
    func remove() {
        guard case .success(let place) = place else { return }
        let limit = Deadline.after(.seconds(2))
        while rmdir(place.workers) != 0, errno == EBUSY || errno == ENOTEMPTY, !limit.hasPassed { usleep(1000) }
        Self.leave(place)
    }

    private static func leave(_ place: Place) {
        rmdir(place.workers)
        guard let host = place.host else { return }
        do throws(PluginError) {
            try Self.turn("-", place.controllers, in: place.own)
            try writeSetting("\(place.own)/cgroup.procs", "\(getpid())")
            rmdir(host)
        } catch {}  // a worker is still there, and ends with this process
    }

    private static func prepare() throws(PluginError) -> Place {
        let own = try ownGroup()
        let offered = words(of: "\(own)/cgroup.controllers").filter { ["memory", "pids"].contains($0) }
        if offered.isEmpty {
            throw PluginError(code: .unavailable, message: "the kernel gives groups below \(own) neither memory nor pids as controllers")
        }
        sweep(own)
        var place = Place(own: own, controllers: offered)
        do throws(PluginError) { try divide(&place) } catch {
            leave(place)
            throw error
        }
        return place
    }

    private static func divide(_ place: inout Place) throws(PluginError) {
        let own = place.own
        // Only the root has no type.
        if access("\(own)/cgroup.type", F_OK) == 0 {
            guard isGiven(own) else {
                throw PluginError(
                    code: .failedPrecondition, message: "\(own) is not the host's to divide: a service of systemd's is with Delegate=yes")
            }
            guard words(of: "\(own)/cgroup.procs") == ["\(getpid())"] else {
                throw PluginError(
                    code: .failedPrecondition,
                    message: "\(own) holds other processes than the host: start it in a group of its own, such as a service of systemd's "
                        + "with Delegate=yes")
            }
            let host = "\(place.workers).host"
            try makeGroup(host)
            place.host = host
            try writeSetting("\(host)/cgroup.procs", "\(getpid())")
        }
        try makeGroup(place.workers)
        for group in [own, place.workers] { try turn("+", place.controllers, in: group) }
    }

    /// Whether the group is the root of what this process sees, as in a container, or its manager gave it away.
    private static func isGiven(_ group: String) -> Bool {
        ownPath == "/" || knap_has_attribute(group, "user.delegate", "1") == 1
            || knap_has_attribute(group, "trusted.delegate", "1") == 1
    }

    private static func turn(_ sign: String, _ controllers: [String], in group: String) throws(PluginError) {
        try writeSetting("\(group)/cgroup.subtree_control", controllers.map { sign + $0 }.joined(separator: " "))
    }

    /// This process's group, seen from the root that it knows.
    private static var ownPath: Substring? {
        lines(of: "/proc/self/cgroup").first { $0.hasPrefix("0::/") }?.dropFirst(3)
    }

    /// Its directory.
    private static func ownGroup() throws(PluginError) -> String {
        let missing = PluginError(code: .unavailable, message: "there is no cgroup v2 here")
        guard let path = ownPath else { throw missing }
        for mount in lines(of: "/proc/self/mountinfo") {
            // proc_pid_mountinfo(5): the root within the file system and the place are the fourth and fifth field.
            let fields = mount.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), fields.count > dash + 1, fields[dash + 1] == "cgroup2", dash > 5,
                path.hasPrefix(fields[3])
            else { continue }
            let below = fields[3] == "/" ? path : path.dropFirst(fields[3].count)
            return below == "/" ? String(fields[4]) : String(fields[4] + below)
        }
        throw missing
    }

    /// Removes what hosts left that are gone.
    private static func sweep(_ own: String) {
        for group in readDirectory(own) ?? [] where group.hasPrefix("knap-") {
            guard let process = Int32(group.dropFirst(5).prefix { $0 != "." }), process == getpid() || isGone(process) else { continue }
            for worker in readDirectory("\(own)/\(group)") ?? [] { rmdir("\(own)/\(group)/\(worker)") }
            rmdir("\(own)/\(group)")
        }
    }
}

private func isGone(_ process: Int32) -> Bool { kill(process, 0) != 0 && errno == ESRCH }

/// The group of one worker.
struct ControlGroup: Sendable {
    let directory: String
    /// In all, as far as these groups can limit it.
    private(set) var memoryLimit: Int?

    init(directory: String) { self.directory = directory }

    /// As many as a user of its own may have; see Host/Worker/sandbox.c.
    private static let mostThreads = 8192

    fileprivate mutating func limit(memoryBytes: Int?) throws(PluginError) {
        if hasSetting("pids.max") { try writeSetting("\(directory)/pids.max", "\(Self.mostThreads)") }
        guard let memoryBytes, hasSetting("memory.max") else { return }
        memoryLimit = memoryBytes
        try writeSetting("\(directory)/memory.max", "\(memoryBytes)")
        if hasSetting("memory.swap.max") { try writeSetting("\(directory)/memory.swap.max", "0") }
    }

    private func hasSetting(_ name: String) -> Bool { access("\(directory)/\(name)", F_OK) == 0 }

    /// The kernel ended a process because the group had all of its memory, and not because a larger one had.
    var ranOutOfMemory: Bool {
        let events = lines(of: "\(directory)/memory.events")
        return ["oom", "oom_kill"].allSatisfy { kind in events.contains { $0.hasPrefix("\(kind) ") && $0 != "\(kind) 0" } }
    }

    /// Call when its process was reaped.
    func remove() { rmdir(directory) }
}

private func makeGroup(_ directory: String) throws(PluginError) {
    guard mkdir(directory, 0o755) == 0 || errno == EEXIST else {
        throw PluginError(code: .unavailable, message: "\(directory) cannot be made: \(errorText(errno))")
    }
}

private func writeSetting(_ path: String, _ value: String) throws(PluginError) {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    let isWritten = file >= 0 && write(file, value, value.utf8.count) == value.utf8.count
    let reason = errno
    if file >= 0 { close(file) }
    guard isWritten else {
        throw PluginError(code: .unavailable, message: "'\(value)' cannot be written to \(path): \(errorText(reason))")
    }
}

private func lines(of path: String) -> [Substring] {
    String(decoding: readFile(path) ?? [], as: UTF8.self).split(separator: "\n")
}

private func words(of path: String) -> [String] { lines(of: path).flatMap { $0.split(separator: " ") }.map(String.init) }
