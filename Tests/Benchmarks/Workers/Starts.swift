import KnapJSON
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
        times.sort()
        print(
            "  \(label)".padded(40), column(fixed(percentile(times, 0.5) / 1000), 8), column(fixed(percentile(times, 0.99) / 1000), 8),
            column("\(target)", 8))
    }
}
