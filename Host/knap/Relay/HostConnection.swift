import CLinux
import Glibc
import KnapControl
import KnapHost

/// Finds the host of a state directory, and starts it where none runs.
///
/// Two relays may start one at the same time: the lock of the state directory decides, the loser's host ends with
/// "in use", and both relays join the winner. They wait for its socket's rename, so nobody polls.
struct HostConnection {
    /// A cold start reads plugins from the disk; a client waits 30 s at most.
    private static let patienceMS = 25_000

    let state: StateDirectory
    let vaults: [String]
    let arguments: RelayArguments
    /// The client's pidfd, or -1.
    let client: Int32

    /// The socket, attached to an MCP session, and what came with the answer.
    func attach() throws -> (socket: Int32, early: [UInt8]) {
        let deadline = Clock.milliseconds() + Self.patienceMS
        // Watching begins before the first look, so that no rename falls in between.
        let renames = knap_watch_moves(state.path)
        defer { close(renames) }
        var host = StartedHost.none
        defer { host.forget() }
        while true {
            do {
                let client = try ControlClient(path: state.controlSocket)
                let left = max(1, deadline - Clock.milliseconds())
                switch try client.attach("mcp.connect", withinMS: left, unless: self.client) {
                case .attached(let socket, let early): return (socket, early)
                case .refused(let failure): throw failure
                }
            } catch let error as ControlError where error.code == .notRunning || error.code == .closed {
                // Not there yet, or a host about to end.
            }
            if case .none = host { host = try StartedHost(state: state, arguments: hostArguments) }
            try host.wait(renames: renames, client: self.client, until: deadline)
        }
    }

    private var hostArguments: [String] {
        var list = ["knap", "serve", "--relay-started", "--state", state.path]
        for vault in vaults { list += ["--vault", vault] }
        for directory in arguments.plugins { list += ["--plugins", directory] }
        if let profile = arguments.profile { list += ["--profile", profile] }
        if let port = arguments.port { list += ["--port", port] }
        return list
    }
}

/// The host that a relay started, as far as the relay cares: until it can be joined.
enum StartedHost {
    case none
    case running(pid: Int32, process: Int32, log: String)
    /// Another host has the state directory and will listen, or has ended.
    case lost

    init(state: StateDirectory, arguments: [String]) throws {
        let log = state.hostLog
        var status = stat()
        if stat(log, &status) == 0, status.st_size > 1 << 20 { truncate(log, 0) }
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        let pid = knap_start_host(&pointers, log)
        guard pid > 0 else {
            throw CommandFailure(
                ExitStatus.software, "CANNOT_START", "cannot start the host: \(String(cString: strerror(errno)))")
        }
        self = .running(pid: pid, process: knap_pidfd(pid), log: log)
    }

    /// Sleeps until a socket appears or the host ends. Throws where the client does.
    mutating func wait(renames: Int32, client: Int32, until deadline: Int) throws {
        let process = if case .running(_, let process, _) = self { process } else { Int32(-1) }
        var descriptors = [
            pollfd(fd: renames, events: Int16(POLLIN), revents: 0),
            pollfd(fd: process, events: Int16(POLLIN), revents: 0),
            pollfd(fd: client, events: Int16(POLLIN), revents: 0),
        ]
        let left = deadline - Clock.milliseconds()
        guard left > 0, poll(&descriptors, 3, Int32(left)) != 0 else {
            throw CommandFailure(
                ExitStatus.temporary, "START_TIMED_OUT", "the host did not start in time; its log is host.log in the state directory")
        }
        if descriptors[2].revents != 0 { throw ControlError.unwanted }
        if descriptors[0].revents != 0 {
            var events = [UInt8](repeating: 0, count: 4096)
            _ = read(renames, &events, events.count)
        }
        if descriptors[1].revents != 0 { try ended() }
    }

    private mutating func ended() throws {
        guard case .running(let pid, let process, let log) = self else { return }
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        close(process)
        self = .lost
        // 75: another one has the state directory.
        if status & 0x7f == 0, (status >> 8) & 0xff == ExitStatus.temporary { return }
        throw CommandFailure(ExitStatus.unavailable, "HOST_FAILED", "the host could not start\(Self.reason(log))")
    }

    /// What its log says; where nothing could be written there, most likely why.
    private static func reason(_ log: String) -> String {
        let tail = tail(of: log)
        if !tail.isEmpty { return "; the end of \(log):\n\(tail)" }
        var disk = statvfs()
        guard statvfs(log, &disk) == 0, disk.f_bavail == 0 else { return ", and left nothing in \(log)" }
        return ": the disk of \(log) is full; free some space, or choose another place with --state"
    }

    /// The host goes on without this relay.
    func forget() {
        if case .running(_, let process, _) = self { close(process) }
    }

    private static func tail(of path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        var bytes = [UInt8](repeating: 0, count: 2048)
        let count = pread(descriptor, &bytes, bytes.count, max(0, size - bytes.count))
        return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }
}

enum Clock {
    /// Monotonic.
    static func milliseconds() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }
}
