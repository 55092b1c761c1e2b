import Glibc
import KnapPlugin

@testable import KnapHost

/// From the host's decision to start a plugin in a worker, sandbox on, to the answer to the first call.
func measureStarts(_ bench: Bench) async throws {
    print("start to first answer".padded(40), "  p50 ms   p99 ms   target")
    for (name, label, target) in [
        ("start-c", "C", 3), ("start-swift", "Swift without Foundation", 10), ("start-foundation", "Swift with Foundation", 25),
    ] {
        let first = try bench.entrance.services.bind("test.\(name).version")
        var times: [UInt64] = []
        for _ in 0..<100 {
            await bench.host.stopPlugin(name, "to be started")
            let start = nanoseconds()
            await bench.host.startPlugin(name)
            _ = try await first.call(bytes: [], parent: nil)
            times.append(nanoseconds() - start)
        }
        row(label, times, "\(target)")
    }
    row("limit: a process that does nothing", (0..<100).map { _ in spawnAndReap("/bin/true") }, "")
}

private func spawnAndReap(_ program: String) -> UInt64 {
    let start = nanoseconds()
    var process: pid_t = 0
    var arguments: [UnsafeMutablePointer<CChar>?] = [nil]
    guard posix_spawn(&process, program, nil, nil, &arguments, nil) == 0, waitpid(process, nil, 0) == process else {
        fatalError("\(program) cannot be run")
    }
    return nanoseconds() - start
}

private func row(_ label: String, _ times: [UInt64], _ target: String) {
    let sorted = times.sorted()
    print(
        "  \(label)".padded(40), column(fixed(percentile(sorted, 0.5) / 1000), 8), column(fixed(percentile(sorted, 0.99) / 1000), 8),
        column(target, 8))
}
