import CKnap
import Glibc
import KnapPlugin
import Synchronization

@testable import KnapHost

/// Calls made without the SDK, and what they take.
private final class Waiter: Sendable {
    let done = Atomic<Int>(0)
    let failed = Atomic<Int>(0)
    /// For a caller that sleeps until the answer comes; posted at every answer when `sleeps`.
    nonisolated(unsafe) let ended = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)  // made for any thread
    let sleeps: Bool

    init(sleeps: Bool) {
        self.sleeps = sleeps
        sem_init(ended, 0, 0)
    }
}

// Immutable after this; read by any thread.
nonisolated(unsafe) private let callbacks = permanent(
    knap_caller_t(
        size: UInt32(MemoryLayout<knap_caller_t>.size), reserved: 0,
        complete: { context, _, result in
            guard let context, let result else { return }
            let waiter = Unmanaged<Waiter>.fromOpaque(context)._withUnsafeGuaranteedRef { $0 }
            if result.pointee.status != 0 { waiter.failed.wrappingAdd(1, ordering: .relaxed) }
            waiter.done.wrappingAdd(1, ordering: .releasing)
            if waiter.sleeps { sem_post(waiter.ended) }
        }, item: { _, _, _ in }, credit: { _, _ in }))

private struct Calls: @unchecked Sendable {  // its pointers are safe on any thread
    let host: UnsafePointer<knap_host_t>
    let services: UnsafePointer<knap_host_services_t>
    let binding: UInt64
    let body: [UInt8]

    init(_ bench: Bench, _ method: String, by host: UnsafePointer<knap_host_t>, body: [UInt8]) {
        self.host = host
        services = Bench.services(of: host)
        binding = bench.bind(method, by: host)
        self.body = body
    }

    /// Makes `count` calls with `window` of them in flight; the times of each call when the window is one.
    func run(_ count: Int, window: Int, idle: UInt32 = 0) -> (times: [UInt64], seconds: Double, failed: Int) {
        let waiter = Waiter(sleeps: idle > 0)
        var times: [UInt64] = []
        times.reserveCapacity(window == 1 ? count : 0)
        return body.withUnsafeBufferPointer { body in
            var outgoing = knap_outgoing_t()
            outgoing.size = UInt32(MemoryLayout<knap_outgoing_t>.size)
            outgoing.caller = callbacks
            outgoing.context = Unmanaged.passUnretained(waiter).toOpaque()
            outgoing.body = knap_bytes_t(data: body.baseAddress, size: UInt64(body.count))
            let began = nanoseconds()
            for number in 0..<count {
                if idle > 0 { usleep(idle) }
                let start = window == 1 ? nanoseconds() : 0
                _ = services.pointee.call(host, binding, &outgoing, nil)
                while waiter.done.load(ordering: .acquiring) + window <= number {}
                if idle > 0 { sem_wait(waiter.ended) }
                if window == 1 {
                    while waiter.done.load(ordering: .acquiring) <= number {}
                    times.append(nanoseconds() - start)
                }
            }
            while waiter.done.load(ordering: .acquiring) < count {}
            let seconds = Double(nanoseconds() - began) / 1e9
            return (times.sorted(), seconds, waiter.failed.load(ordering: .relaxed))
        }
    }
}

func measureCalls(_ bench: Bench) async throws {
    print("a call, one caller                        p50 µs     p99 µs   64 in flight, calls/s")
    for isolation in [Isolation.inProcess, .worker] {
        try await bench.isolate(isolation)
        for size in [64, 4096] {
            let calls = Calls(bench, "test.bench.echo", by: bench.bare, body: [UInt8](repeating: 65, count: size))
            let (one, many) = await onOwnThread { () -> ((times: [UInt64], seconds: Double, failed: Int), (times: [UInt64], seconds: Double, failed: Int)) in
                _ = calls.run(20_000, window: 1)
                let one = calls.run(300_000, window: 1)
                return (one, calls.run(1_000_000, window: 64))
            }
            let rate = fixed(1_000_000 / many.seconds / 1e6) + " M"
            print(
                "  \(isolation.rawValue), \(size) bytes".padded(38), column(fixed(percentile(one.times, 0.5)), 9),
                column(fixed(percentile(one.times, 0.99)), 10), column(rate, 24), one.failed + many.failed == 0 ? "" : "FAILED CALLS")
        }
    }
    try await measureChecking(bench)
    try await measureWaking(bench)
    try await measureTask(bench)
    await measureSocket()
}

/// What a call from outside costs, whose body is read and checked against its schema, beside one that is not.
private func measureChecking(_ bench: Bench) async throws {
    try await bench.isolate(.inProcess)
    let filler = String(repeating: "knap ", count: 29)
    let text = #"{"path":"Folder/Note about nothing.md","content":"\#(filler)","overwrite":true,"limit":20,"offset":140}"#
    var body = Array(text.utf8)
    while body.count < 256 { body.insert(0x20, at: 1) }
    for (name, host) in [("not checked", bench.bare), ("read and checked", bench.checked)] {
        let calls = Calls(bench, "test.bench.version", by: host, body: body)
        let result = await onOwnThread {
            (0..<9).map { _ in calls.run(100_000, window: 64) }.min { $0.seconds < $1.seconds } ?? calls.run(1, window: 1)
        }
        print(
            "  in-process, 256 bytes, \(name)".padded(38), column(fixed(result.seconds / 100_000 * 1e6, 3), 9), "each, the best of 9 rounds",
            result.failed == 0 ? "" : "FAILED CALLS")
    }
    try await bench.isolate(.worker)
}

private func measureWaking(_ bench: Bench) async throws {
    let calls = Calls(bench, "test.bench.echo", by: bench.bare, body: [UInt8](repeating: 65, count: 64))
    for (name, idle, count) in [("after 1 ms idle", UInt32(1000), 1000), ("after 100 ms idle", 100_000, 50)] {
        let result = await onOwnThread { calls.run(count, window: 1, idle: idle) }
        print(
            "  worker, 64 bytes, \(name)".padded(38), column(fixed(percentile(result.times, 0.5)), 9),
            column(fixed(percentile(result.times, 0.99)), 10))
    }
    var before = rusage(), after = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &before)
    try await Task.sleep(for: .seconds(10))
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &after)
    let spent = microseconds(after) - microseconds(before)
    print("  processor time of the host in 10 idle seconds: \(spent) µs")
}

private func microseconds(_ usage: rusage) -> Int {
    (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
}

private func measureTask(_ bench: Bench) async throws {
    let binding = try bench.entrance.services.bind("test.bench.echo")
    let body = [UInt8](repeating: 65, count: 64)
    try await bench.isolate(.inProcess)
    for isolation in [Isolation.inProcess, .worker] {
    try await bench.isolate(isolation)
    for _ in 0..<2_000 { _ = try await binding.call(bytes: body, parent: nil) }
    let began = nanoseconds()
    for _ in 0..<100_000 { _ = try await binding.call(bytes: body, parent: nil) }
    let rate = 100_000 / (Double(nanoseconds() - began) / 1e9) / 1e6
    print("  \(isolation.rawValue), 64 bytes, one task of the SDK".padded(38), column(fixed(rate) + " M calls/s", 45))
    }
}

/// The peer: the same 64 bytes to a thread and back over a Unix socket.
private func measureSocket() async {
    let times = await onOwnThread { () -> [UInt64] in
        var pair: [Int32] = [0, 0]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair)
        let other = pair[1]
        startThread {
            var bytes = [UInt8](repeating: 0, count: 64)
            while read(other, &bytes, 64) == 64 { write(other, bytes, 64) }
            close(other)
        }
        var bytes = [UInt8](repeating: 65, count: 64), times: [UInt64] = []
        for _ in 0..<50_000 {
            let start = nanoseconds()
            write(pair[0], bytes, 64)
            read(pair[0], &bytes, 64)
            times.append(nanoseconds() - start)
        }
        close(pair[0])
        return times.sorted()
    }
    print(
        "  a Unix socket to a thread, 64 bytes".padded(38), column(fixed(percentile(times, 0.5)), 9),
        column(fixed(percentile(times, 0.99)), 10))
}

extension String {
    func padded(_ width: Int = 38) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
