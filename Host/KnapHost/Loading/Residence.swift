/// What became of a library's code when its plugin's instance had ended.
enum Residence: Sendable, Equatable {
    /// Gone from memory; checked.
    case unloaded
    /// Another generation has the same content.
    case shared
    /// Still mapped, and why.
    case retained(String)

    var description: String {
        switch self {
        case .unloaded: "unloaded"
        case .shared: "in use by another generation of the same content"
        case .retained(let reason): "retained: \(reason)"
        }
    }
}

extension ElfImage {
    /// Functions by which a library hands out pointers to its code that nobody takes back for it.
    private static let leavings: [(names: Set<String>, what: String)] = [
        (["pthread_create", "thrd_create"], "it can start threads"),
        (["pthread_key_create", "tss_create", "__cxa_thread_atexit_impl", "__cxa_thread_atexit"],
            "it can register destructors of threads"),
        (["signal", "sigaction", "bsd_signal", "sysv_signal", "__sysv_signal"], "it can install signal handlers"),
        (["timer_create", "mq_notify", "getaddrinfo_a"], "it can have the system call it back"),
        (["on_exit"], "it can register itself for the program's end"),
        (["dlsym", "dlvsym"], "it can find functions that leave pointers to it"),
    ]

    /// Why code of this image must stay in the process; nil when plain C or Embedded Swift can be unmapped.
    var reasonToStay: String? {
        if runtimes.contains(.swift) { return "Swift's runtime keeps pointers into every image" }
        if let runtime = runtimes.sorted(by: { $0.rawValue < $1.rawValue }).first {
            return "the runtime of its language (\(runtime == .cxx ? "c++" : runtime.rawValue)) may keep pointers into it"
        }
        if isNeverUnloaded { return "it is linked with -z nodelete" }
        if exports.contains(where: \.isUnique) { return "it has symbols of the kind STB_GNU_UNIQUE" }
        if usesStaticThreadLocals { return "it uses static thread-local memory" }
        return Self.leavings.first { !$0.names.isDisjoint(with: imports) }?.what
    }
}
