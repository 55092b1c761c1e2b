import CKnap
import Glibc
import KnapJSON
import KnapPlugin
import Synchronization

@testable import KnapHost

/// What one caller saw while the plugin was reloaded under it.
private struct Seen: Sendable {
    var calls = 0
    var failed = 0
    var times: [UInt64] = []
}

/// The caller sleeps when the answer does not come at once: one that went on looking would keep the processor from what it
/// waits for, as at a gate.
private final class Answer: Sendable {
    nonisolated(unsafe) let came = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)  // made for any thread
    let status = Atomic<Int32>(0)

    init() { sem_init(came, 0, 0) }
    deinit { came.deallocate() }
}

// Immutable after this; read by any thread.
nonisolated(unsafe) private let callbacks = permanent(
    knap_caller_t(
        size: UInt32(MemoryLayout<knap_caller_t>.size), reserved: 0,
        complete: { context, _, result in
            guard let context, let result else { return }
            let answer = Unmanaged<Answer>.fromOpaque(context)._withUnsafeGuaranteedRef { $0 }
            answer.status.store(result.pointee.status, ordering: .relaxed)
            sem_post(answer.came)
        }, item: { _, _, _ in }, credit: { _, _ in }))

final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
}

/// Calls `add` until it is told to stop.
private func call(_ bench: Bench, _ binding: UInt64, until stop: Flag) -> Seen {
    var seen = Seen()
    let answer = Answer()
    var outgoing = knap_outgoing_t()
    outgoing.size = UInt32(MemoryLayout<knap_outgoing_t>.size)
    outgoing.caller = callbacks
    outgoing.context = Unmanaged.passUnretained(answer).toOpaque()
    while !stop.isSet.load(ordering: .relaxed) {
        let start = nanoseconds()
        if bench.services.pointee.call(bench.bare, binding, &outgoing, nil) != 0 {
            seen.failed += 1
            continue
        }
        sem_wait(answer.came)
        let taken = nanoseconds() - start
        seen.calls += 1
        if answer.status.load(ordering: .relaxed) != 0 { seen.failed += 1 }
        if seen.times.count < 4_000_000 { seen.times.append(taken) }
    }
    return seen
}

/// From the command to the first answer of the new generation, nobody else calling.
private func measureIdleReload(_ bench: Bench) async throws {
    for isolation in [Isolation.worker, .inProcess] {
        try await bench.isolate(isolation)
        var times: [UInt64] = []
        for _ in 0..<100 {
            let start = nanoseconds()
            try await bench.carryOut("reload")
            _ = try await counter(bench)
            times.append(nanoseconds() - start)
        }
        times.sort()
        print(
            "  \(isolation.rawValue), idle: reload and first answer".padded(48), column(fixed(percentile(times, 0.5) / 1000), 6),
            "ms p50", column(fixed(percentile(times, 0.99) / 1000), 6), "ms p99")
    }
}

/// A plugin that is replaced again and again: by each of these contents in turn, or anew where there is but one.
struct Subject {
    var label: String
    var plugin: String
    var isolation: Isolation
    var contents: [String]
    /// At most; as many as there are contents where each stays in the process.
    var reloads: Int

    /// What `bench-plugin.py` made: `LANGUAGE/NUMBER/NAME.so`.
    static func all(in folder: String, reloads: Int) -> [Subject] {
        ["c", "embedded", "swift"].flatMap { language in
            let versions = names(in: "\(folder)/\(language)").compactMap { Int($0) }.sorted()
            let contents = versions.map { "\(folder)/\(language)/\($0)/storm-\(language).so" }
            return [Isolation.worker, .inProcess].map { isolation in
                let stays = language == "swift" && isolation == .inProcess
                return Subject(
                    label: "\(language), \(isolation.rawValue)", plugin: "storm-\(language)", isolation: isolation,
                    contents: stays ? contents : Array(contents.prefix(2)), reloads: stays ? contents.count : reloads)
            }
        }
    }
}

func measureReloads(_ bench: Bench, contents: String, count: Int) async throws {
    try await measureIdleReload(bench)
    print("")
    print("replaced by another content, four callers")
    print("  at full speed".padded(30), " reloads   failed       calls   p99.9 µs   longest ms   reload ms p50   p99   state")
    for subject in Subject.all(in: contents, reloads: count) { try await measure(bench, subject) }
    print("  descriptors \(names(in: "/proc/self/fd").count), threads \(names(in: "/proc/self/task").count), resident \(resident()) MB")
}

private func measure(_ bench: Bench, _ subject: Subject) async throws {
    let name: JSON = .string(subject.plugin)
    try await bench.carryOut("install", ["path": .string(subject.contents[0])])
    try await bench.carryOut("isolate", ["name": name, "isolation": .string(subject.isolation.rawValue)])
    let method = "test.\(subject.plugin).add"
    let binding = bench.bind(method)
    let first = try await counter(bench, method)
    let stop = Flag()
    var reloads: [UInt64] = []
    let seen = try await withThrowingTaskGroup(of: Seen.self) { group in
        for _ in 0..<4 { group.addTask { await onOwnThread { call(bench, binding, until: stop) } } }
        for number in 1...subject.reloads {
            let content = subject.contents[number % subject.contents.count]
            let start = nanoseconds()
            try await bench.carryOut("install", ["path": .string(content)])
            reloads.append(nanoseconds() - start)
        }
        stop.isSet.store(true, ordering: .relaxed)
        return try await group.reduce(into: [Seen]()) { $0.append($1) }
    }
    let calls = seen.reduce(0) { $0 + $1.calls }, failed = seen.reduce(0) { $0 + $1.failed }
    let times = seen.flatMap(\.times).sorted()
    let last = try await counter(bench, method)
    reloads.sort()
    let exact = last - first - 1 == calls
    print(
        "  \(subject.label)".padded(30), column("\(reloads.count)", 8), column("\(failed)", 8), column("\(calls)", 11),
        column(fixed(percentile(times, 0.999)), 10), column(fixed(Double(times.last ?? 0) / 1e6), 12),
        column(fixed(percentile(reloads, 0.5) / 1000), 15), column(fixed(percentile(reloads, 0.99) / 1000), 6),
        exact ? "  exact" : "  LOST: counted \(last - first - 1)")
    try await bench.carryOut("remove", ["name": name])
}

private func counter(_ bench: Bench, _ method: String = "test.bench.add") async throws -> Int {
    let reply = try await bench.entrance.services.bind(method).call(bytes: [], parent: nil)
    return Int(String(decoding: reply.body, as: UTF8.self)) ?? 0
}

func names(in path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}

/// Of a file of /proc, which has no size and so is read as a stream.
func text(of path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
}

private func resident() -> Int {
    let pages = text(of: "/proc/self/statm").split(separator: " ").dropFirst().first.flatMap { Int($0) }
    return ((pages ?? 0) * 4096) >> 20
}
