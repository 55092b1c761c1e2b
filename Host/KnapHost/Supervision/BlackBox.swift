import Glibc
import KnapBlackBox
import KnapCallEngine
import KnapPlugin

/// What this process writes down for the next one in case it crashes; see Host/BlackBox.
///
/// One a process, begun by whoever runs a host in it. Without it everything works and nothing is written.
package enum BlackBox {
    /// Begins a record in the state directory and says how the host before this one ended. In the main thread, before any
    /// other exists.
    package static func begin(in state: StateDirectory) throws(StateDirectoryError) -> HostEnd {
        var last = knap_box_page_t()
        let path = state.path + "/black-box"
        guard knap_black_box_open(path, &last) else { throw .system(errno, "open", path) }
        knap_black_box_arm()
        return HostEnd(last)
    }

    /// The process ends because it was told to.
    package static func stopped() { knap_black_box_stopped() }
}

/// The code of one generation of a plugin in this process, as the black box knows it.
struct PluginImage: Sendable {
    nonisolated(unsafe) private let code: OpaquePointer?  // never freed, safe on any thread; nil: out of memory

    /// What is part of the host itself, and no plugin's.
    static let host = PluginImage(code: nil)

    private init(code: OpaquePointer?) { self.code = code }

    init(plugin: String, generation: Int, digest: String) {
        code = knap_black_box_code(plugin, UInt32(clamping: generation), digest)
    }

    /// Its library is there, with all that came with it.
    func loaded(_ library: UnsafeMutableRawPointer) { knap_black_box_loaded(code, library) }

    /// Notes that a hook runs until `work` returns, for an end of which nothing else is known.
    func during<T>(_ hook: StaticString, _ work: () async throws(PluginError) -> T) async throws(PluginError) -> T {
        let step = begin(hook)
        defer { knap_black_box_step_ends(step) }
        return try await work()
    }

    func during<T, E: Error>(_ hook: StaticString, _ work: () throws(E) -> T) throws(E) -> T {
        let step = begin(hook)
        defer { knap_black_box_step_ends(step) }
        return try work()
    }

    private func begin(_ hook: StaticString) -> UInt32 {
        knap_black_box_step(code, UnsafeRawPointer(hook.utf8Start).assumingMemoryBound(to: CChar.self))
    }
}

extension Party {
    /// Runs `work` as this party's code, which it is by the thread's account until it returns.
    func within<T>(_ what: StaticString, _ work: () -> T) -> T {
        withoutActuallyEscaping(work) { work in
            let job = Within(work)
            knap_engine_within(
                pointer, UnsafeRawPointer(what.utf8Start).assumingMemoryBound(to: CChar.self),
                { Unmanaged<AnyWithin>.fromOpaque($0!).takeUnretainedValue().run() },  // passed below, never null
                Unmanaged<AnyWithin>.passUnretained(job).toOpaque())
            return job.result!  // the engine ran it
        }
    }
}

private class AnyWithin {
    func run() {}
}

private final class Within<T>: AnyWithin {
    private let work: () -> T
    private(set) var result: T?
    init(_ work: @escaping () -> T) { self.work = work }
    override func run() { result = work() }
}

extension HostEnd {
    fileprivate init(_ page: knap_box_page_t) {
        var crash = page.crash
        let kind = page.version == 0 ? nil : knap_box_state_t(page.state)
        switch kind {
        case KNAP_BOX_CRASHED, KNAP_BOX_EXITED:
            self = .crashed(Crash(&crash, isExit: kind == KNAP_BOX_EXITED))
        case KNAP_BOX_RUNNING:
            var page = page
            let steps = withUnsafeBytes(of: &page.steps) { Array($0.bindMemory(to: knap_box_step_t.self)) }
            self = .unknown(
                steps.filter { $0.used != 0 }.map { step in
                    var step = step
                    return Crash(
                        timeMS: page.started_ms, cause: .killed,
                        culprit: Culprit(
                            plugin: text(&step.plugin), generation: Int(step.generation), digest: text(&step.digest),
                            evidence: .frame), activity: text(&step.hook))
                })
        default: self = .orderly
        }
    }
}

extension Crash {
    /// What a process wrote before it ended; `isExit`: by exit(3).
    init(_ crash: inout knap_box_crash_t, isExit: Bool) {
        var cause = Cause.signal(
            Signal(
                number: crash.signal, address: crash.code > 0 ? crash.address : nil,
                sender: crash.sender == 0 ? nil : crash.sender))
        if isExit { cause = .exit(crash.status) }
        let plugin = text(&crash.plugin)
        let evidence: Culprit.Evidence =
            switch knap_blame_t(crash.blame) {
            case KNAP_BLAME_INSTRUCTION: .instruction
            case KNAP_BLAME_FRAME: .frame
            default: .stack
            }
        self.init(
            timeMS: crash.time_ms, cause: cause,
            culprit: plugin.isEmpty
                ? nil
                : Culprit(plugin: plugin, generation: Int(crash.generation), digest: text(&crash.digest), evidence: evidence),
            activity: text(&crash.what))
        let module = text(&crash.module)
        if !module.isEmpty { place = "\(module.split(separator: "/").last ?? "")+0x\(String(crash.offset, radix: 16))" }
        if crash.frame_offset != 0 { frame = "0x\(String(crash.frame_offset, radix: 16))" }
        let (count, size) = (Int(min(crash.serving_count, 4)), MemoryLayout.size(ofValue: crash.serving.0))
        serving = withUnsafeBytes(of: &crash.serving) { bytes in
            (0..<count).map { place in
                String(decoding: bytes[place * size..<(place + 1) * size].prefix { $0 != 0 }, as: UTF8.self)
            }
        }
        dataBytes = Int(clamping: crash.data_bytes)
        dataLimit = crash.data_limit == 0 ? nil : Int(clamping: crash.data_limit)
    }
}

/// The text in an array of C's, which a tuple is here; it ends at a null.
private func text<T>(_ array: inout T) -> String {
    withUnsafeBytes(of: &array) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}
