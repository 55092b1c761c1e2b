import CLinux
import Glibc
import KnapControl
import KnapHost

/// `knap mcp`: joins the host of a vault, or starts it, and passes bytes between it and an MCP client.
///
/// Nothing but the protocol goes to stdout; whatever goes wrong is said on stderr and by the exit code.
enum Relay {
    static func run(_ arguments: RelayArguments) -> Int32 {
        // Opened first: from here on the client's end cannot be missed.
        let client = ParentProcess()
        do {
            let vaults = try VaultPaths.resolve(arguments.vaults)
            let path = arguments.state ?? StatePath().directory(forVaults: vaults)
            let state = try StateDirectory(creating: path)
            let host = HostConnection(state: state, vaults: vaults, arguments: arguments, client: client.descriptor)
            let (socket, early) = try host.attach()
            // Until here a signal simply ends the process: nothing is in flight.
            return RelayPump(socket: socket, client: client.descriptor, signals: knap_stop_signals()).run(early: early)
        } catch let error as ControlError where error.code == .unwanted {
            return ExitStatus.ok
        } catch {
            let failure = CommandFailure(any: error)
            Output.note("knap mcp: \(failure.message)")
            return failure.exitStatus
        }
    }
}

/// The process that started this one.
struct ParentProcess {
    /// Readable when it has ended; -1 where that cannot be watched.
    ///
    /// PR_SET_PDEATHSIG would also fire when merely the thread of the client ends that started the relay (prctl(2)).
    let descriptor: Int32

    init() {
        let parent = getppid()
        let descriptor = knap_pidfd(parent)
        // It may have ended in between, and its number may be another process now.
        if descriptor >= 0, getppid() != parent {
            close(descriptor)
            self.descriptor = -1
        } else {
            self.descriptor = descriptor
        }
    }
}

enum VaultPaths {
    /// Absolute paths without symbolic links; each must be a folder that exists.
    static func resolve(_ paths: [String]) throws(CommandFailure) -> [String] {
        var resolved: [String] = []
        for path in paths {
            guard let real = realPath(path), isDirectory(real) else {
                throw CommandFailure(ExitStatus.notFound, "NO_VAULT", "the vault \(path) is not a folder: --vault names a folder of notes")
            }
            if !resolved.contains(real) { resolved.append(real) }
        }
        return resolved
    }
}
