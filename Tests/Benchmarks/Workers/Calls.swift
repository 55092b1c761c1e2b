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
    deinit { ended.deallocate() }
}

// Immutable after this; read by any thread.
nonisolated(unsafe) private let callbacks = permanent(
    knap_caller_t(
        size: UInt32(MemoryLayout<knap_caller_t>.size), reserved: 0,
        complete: { context, _, result in
            guard let context, let result else { return }
            let waiter = Unmanaged<Waiter>.fromOpaque(context)._withUnsafeGuaranteedRef { $0 }
            if result.pointee.status != 0 { waiter.failed.wrappingAdd(1, ordering: .relaxed) }
            // The caller may be gone when the last answer was counted, the semaphore not before it was posted.
            if waiter.sleeps { sem_post(waiter.ended) }
            waiter.done.wrappingAdd(1, ordering: .releasing)
        }, item: { _, _, _ in }, credit: { _, _ in }))

/// How calls are made one after another.
private enum Waiting {
    /// The caller looks at its own memory until the answer is there.
    case spinning
    /// The caller sleeps until the answer comes, and before each call for so many microseconds.
    case sleeping(rest: UInt32)
}

struct Run: Sendable {
    /// Of each call, in order of size; empty where several were in flight.
    var times: [UInt64] = []
    var rate = 0.0
    var failed = 0

    var p50: Double { percentile(times, 0.5) }
    var p99: Double { percentile(times, 0.99) }
}

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

    init(_ bench: Bench, size: Int) {
        self.init(bench, "test.bench.echo", by: bench.bare, body: [UInt8](repeating: 65, count: size))
    }

    func oneByOne(_ count: Int, _ waiting: Waiting) async -> Run {
        await onOwnThread {
            var sleeps = false, rest: UInt32 = 0
            if case .sleeping(let pause) = waiting { (sleeps, rest) = (true, pause) }
            let waiter = Waiter(sleeps: sleeps)
            var times: [UInt64] = []
            times.reserveCapacity(count)
            withOutgoing(waiter) { outgoing in
                for number in 0..<count {
                    if rest > 0 { usleep(rest) }
                    let start = nanoseconds()
                    _ = services.pointee.call(host, binding, outgoing, nil)
                    if sleeps { sem_wait(waiter.ended) }
                    while waiter.done.load(ordering: .acquiring) <= number {}
                    times.append(nanoseconds() - start)
                }
            }
            return Run(times: times.sorted(), failed: waiter.failed.load(ordering: .relaxed))
        }
    }

    /// One thread that makes calls ahead, and with so many in flight waits for the oldest.
    func inFlight(_ window: Int, _ count: Int) async -> Run {
        await onOwnThread {
            let waiter = Waiter(sleeps: false)
            let wait = host.pointee.calls.pointee.wait
            var calls = [knap_call_t](repeating: 0, count: window)
            let began = nanoseconds()
            withOutgoing(waiter, flags: UInt32(KNAP_OUTGOING_WAITS)) { outgoing in
                for number in 0..<count + window {
                    while number >= window, waiter.done.load(ordering: .acquiring) + window <= number {
                        _ = wait?(host, calls[number % window])
                    }
                    if number < count { _ = services.pointee.call(host, binding, outgoing, &calls[number % window]) }
                }
            }
            return Run(rate: Double(count) / Double(nanoseconds() - began) * 1e9, failed: waiter.failed.load(ordering: .relaxed))
        }
    }

    private func withOutgoing(_ waiter: Waiter, flags: UInt32 = 0, _ run: (UnsafePointer<knap_outgoing_t>) -> Void) {
        body.withUnsafeBufferPointer { body in
            var outgoing = knap_outgoing_t()
            outgoing.size = UInt32(MemoryLayout<knap_outgoing_t>.size)
            outgoing.flags = flags
            outgoing.caller = callbacks
            outgoing.context = Unmanaged.passUnretained(waiter).toOpaque()
            outgoing.body = knap_bytes_t(data: body.baseAddress, size: UInt64(body.count))
            run(&outgoing)
        }
    }
}

/// One task that waits for each answer before its next call, and rests in between.
private func oneTask(_ bench: Bench, _ count: Int, rest: Duration? = nil) async throws -> Run {
    let binding = try bench.entrance.services.bind("test.bench.echo")
    let body = [UInt8](repeating: 65, count: 64)
    var times: [UInt64] = []
    let began = nanoseconds()
    for _ in 0..<count {
        guard let rest else {
            _ = try await binding.call(bytes: body, parent: nil)
            continue
        }
        try await Task.sleep(for: rest)
        let start = nanoseconds()
        _ = try await binding.call(bytes: body, parent: nil)
        times.append(nanoseconds() - start)
    }
    return Run(times: times.sorted(), rate: Double(count) / Double(nanoseconds() - began) * 1e9)
}

/// The best of several runs, as other work on the machine only ever makes one slower.
private func best(of count: Int, _ run: () async throws -> Run) async throws -> Run {
    var best = try await run()
    for _ in 1..<count {
        let next = try await run()
        if next.times.isEmpty ? next.rate > best.rate : next.p50 < best.p50 { best = next }
    }
    return best
}

private func show(_ name: String, _ run: Run) {
    let times = run.times.isEmpty ? ["", ""] : [fixed(run.p50), fixed(run.p99)]
    let rate = run.times.isEmpty ? fixed(run.rate / 1e6) + " M" : ""
    print("  \(name)".padded(46), column(times[0], 9), column(times[1], 10), column(rate, 10), run.failed == 0 ? "" : "FAILED CALLS")
}

func measureCalls(_ bench: Bench) async throws {
    let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    print("calls, each the best of several short runs".padded(46), "   p50 µs     p99 µs    calls/s")
    for isolation in [Isolation.worker, .inProcess] {
        try await bench.isolate(isolation)
        let small = Calls(bench, size: 64), large = Calls(bench, size: 4096), place = isolation.rawValue
        _ = await small.oneByOne(20_000, .spinning)
        show("\(place), 64 bytes", try await best(of: 7) { await small.oneByOne(50_000, .spinning) })
        show("\(place), 4 KiB", try await best(of: 7) { await large.oneByOne(30_000, .spinning) })
        show("\(place), 64 bytes, 64 in flight", try await best(of: 7) { await small.inFlight(64, 200_000) })
        show("\(place), 4 KiB, 64 in flight", try await best(of: 7) { await large.inFlight(64, 60_000) })
        show("\(place), one task of the SDK", try await best(of: 7) { try await oneTask(bench, 50_000) })
        for (name, rest, count) in [("1 ms", 1, 300), ("100 ms", 100, 20)] {
            show(
                "\(place), after \(name)",
                try await best(of: 3) { await small.oneByOne(count, .sleeping(rest: UInt32(rest) * 1000)) })
            show(
                "\(place), after \(name), one task of the SDK",
                try await best(of: 3) { try await oneTask(bench, count, rest: .milliseconds(rest)) })
        }
        await withBusyProcessors(processors) {
            show("\(place), every processor busy", await small.oneByOne(5_000, .sleeping(rest: 0)))
        }
        if isolation == .worker { try await measureIdle(bench) }
    }
    try await measureChecking(bench)
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
        let run = try await best(of: 9) { await calls.inFlight(64, 100_000) }
        print(
            "  in-process, 256 bytes, \(name)".padded(46), column(fixed(1e6 / run.rate, 3), 9), "µs each",
            run.failed == 0 ? "" : "FAILED CALLS")
    }
}

/// With one processor, which is what `taskset` gave this process and so the worker.
func measureOnOneProcessor(_ bench: Bench) async throws {
    for isolation in [Isolation.worker, .inProcess] {
        try await bench.isolate(isolation)
        let calls = Calls(bench, size: 64)
        show("\(isolation.rawValue), on one processor", try await best(of: 5) { await calls.oneByOne(5_000, .sleeping(rest: 0)) })
    }
}

private func withBusyProcessors(_ count: Int, _ work: () async -> Void) async {
    let must = Flag()
    for _ in 0..<count {
        startThread { while !must.isSet.load(ordering: .relaxed) {} }
    }
    await work()
    must.isSet.store(true, ordering: .relaxed)
}

/// What host and worker take of the processors in ten seconds without a call.
private func measureIdle(_ bench: Bench) async throws {
    let reply = try await bench.entrance.services.bind("test.bench.pid").call(bytes: [], parent: nil)
    let processes = [("host", "self"), ("worker", String(decoding: reply.body, as: UTF8.self))]
    try await Task.sleep(for: .seconds(2))  // what was called last is looked after for a second
    let before = processes.map { Usage(of: $0.1) }
    try await Task.sleep(for: .seconds(10))
    for ((name, process), before) in zip(processes, before) {
        let used = Usage(of: process).since(before)
        print("  \(name), 10 s idle: \(used.nanoseconds / 1000) µs of processor time, \(used.switches) times awake")
    }
}

/// What each of a process's threads took of the processors so far.
private struct Usage {
    private var threads: [String: (nanoseconds: Int, switches: Int)] = [:]

    init(of process: String) {
        for thread in names(in: "/proc/\(process)/task") {
            let folder = "/proc/\(process)/task/\(thread)"
            let nanoseconds = text(of: "\(folder)/schedstat").split(separator: " ").first.flatMap { Int($0) }
            let switches = text(of: "\(folder)/status").split(separator: "\n").first { $0.hasPrefix("voluntary_ctxt_switches:") }
            threads[thread] = (nanoseconds ?? 0, switches?.split(separator: "\t").last.flatMap { Int($0) } ?? 0)
        }
    }

    /// Threads that ended meanwhile took nothing.
    func since(_ before: Usage) -> (nanoseconds: Int, switches: Int) {
        threads.reduce(into: (0, 0)) { sum, thread in
            let first = before.threads[thread.key] ?? (0, 0)
            sum.0 += thread.value.nanoseconds - first.nanoseconds
            sum.1 += thread.value.switches - first.switches
        }
    }
}

extension String {
    func padded(_ width: Int = 38) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
