import CLinux
import Glibc
import KnapJSON

/// One test in a process of its own, which may crash or hang.
struct CheckerProcess {
    struct Ended {
        /// Nil: it was still running when its time was over.
        var status: Int32?
        /// What it reported, line by line.
        var reports: [JSON]
        /// What it printed last.
        var printed: String
    }

    let program: String

    /// How much of what a plugin prints is kept.
    private static let printedMost = 4_096

    func run(_ arguments: [String], limit: Duration) throws -> Ended {
        var pipes: [CInt] = [-1, -1]
        guard knap_pipe(&pipes) == 0 else { throw CheckError("no pipe can be made: \(String(cString: strerror(errno)))") }
        defer { close(pipes[0]) }
        guard let output = tmpfile() else {
            close(pipes[1])
            throw CheckError("no temporary file can be made: \(String(cString: strerror(errno)))")
        }
        defer { fclose(output) }
        var pidfd: CInt = -1
        let process = withStrings([program] + arguments) { arguments in
            withStrings(environment) { environment in knap_spawn(program, arguments, environment, &pipes[1], 1, fileno(output), &pidfd) }
        }
        let failure = errno
        close(pipes[1])
        guard process > 0 else { throw CheckError("'\(program)' cannot be started: \(String(cString: strerror(failure)))") }
        defer { close(pidfd) }
        let (bytes, isOver) = read(pipes[0], until: .now + limit, pidfd)
        if !isOver { kill(-process, SIGKILL) }
        let status = knap_reap(pidfd)
        // What it has started goes with it.
        kill(-process, SIGKILL)
        return Ended(
            status: isOver ? status : nil, reports: bytes.split(separator: 0x0A).compactMap { try? JSON.parse(Array($0)) },
            printed: tail(of: output))
    }

    private var environment: [String] {
        let names: [String] = ["PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH"]
        let kept = names.compactMap { name in
            getenv(name).map { "\(name)=\(String(cString: $0))" }
        }
        // As for a worker: signals belong to the host.
        return kept + ["SWIFT_BACKTRACE=enable=no"]
    }

    /// Until the process has ended and all that it wrote is read.
    private func read(_ pipe: CInt, until end: ContinuousClock.Instant, _ pidfd: CInt) -> (bytes: [UInt8], isOver: Bool) {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        func drain() {
            while true {
                let count = Glibc.read(pipe, &piece, piece.count)
                guard count > 0 else { return }
                bytes += piece[..<count]
            }
        }
        while true {
            let left = ContinuousClock.now.duration(to: end)
            guard left > .zero else { return (bytes, false) }
            var waits = [pollfd(fd: pipe, events: Int16(POLLIN), revents: 0), pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)]
            let milliseconds = left.components.seconds * 1_000 + left.components.attoseconds / 1_000_000_000_000_000 + 1
            _ = poll(&waits, 2, CInt(clamping: milliseconds))
            drain()
            if waits[1].revents != 0 {
                drain()
                return (bytes, true)
            }
            // Its end of the pipe is closed, and it runs on.
            if waits[0].revents & Int16(POLLIN) == 0, waits[0].revents != 0 {
                _ = poll(&waits[1], 1, CInt(clamping: milliseconds))
                return (bytes, waits[1].revents != 0)
            }
        }
    }

    private func tail(of output: UnsafeMutablePointer<FILE>) -> String {
        fseek(output, 0, SEEK_END)
        fseek(output, -min(ftell(output), Self.printedMost), SEEK_END)
        var bytes = [UInt8](repeating: 0, count: Self.printedMost)
        return String(decoding: bytes[..<fread(&bytes, 1, bytes.count, output)], as: UTF8.self)
    }
}

/// Why the kit itself could not do its work.
package struct CheckError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

private func withStrings<T>(_ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> T) -> T {
    let copies = texts.map { strdup($0) } + [nil]
    defer { for copy in copies { free(copy) } }
    return body(copies)
}
