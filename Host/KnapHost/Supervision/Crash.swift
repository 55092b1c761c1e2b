import Glibc
import KnapJSON

/// How a host ended.
package enum HostEnd: Sendable {
    /// As it was told to, or there was none.
    case orderly
    case crashed(Crash)
    /// Without a word: killed, or the power went. These hooks of plugins were running.
    case unknown([Crash])
}

/// The end of a process by its own doing, and what is known of it.
package struct Crash: Sendable, Hashable {
    package struct Signal: Sendable, Hashable {
        var number: Int32
        /// That could not be accessed, or at which it could not go on.
        var address: UInt64?
        /// The process that sent it, if one did.
        var sender: Int32?
    }

    package enum Cause: Sendable, Hashable {
        case signal(Signal)
        /// exit(3) was called with this status.
        case exit(Int32)
        /// Nobody knows: it did not even crash.
        case killed
    }

    /// Since 1970.
    package var timeMS: Int64
    package var cause: Cause
    /// Nil: nobody can be named.
    package var culprit: Culprit?
    /// The method or hook that the culprit was running; empty: unknown.
    package var activity = ""
    /// Where the instruction is: image and offset; empty: in no image.
    package var place = ""
    /// The offset of the culprit's innermost frame in its library.
    package var frame: String?
    /// Methods of the culprit that had not completed.
    package var serving: [String] = []
    /// Of RLIMIT_DATA.
    package var dataBytes = 0
    package var dataLimit: Int?

    init(timeMS: Int64, cause: Cause, culprit: Culprit?, activity: String = "") {
        self.timeMS = timeMS
        self.cause = cause
        self.culprit = culprit
        self.activity = activity
    }

    /// What happened and where: "SIGSEGV at foo.so+0x1a2 (address 0x8) in foo.hello".
    package var summary: String {
        var text =
            switch cause {
            case .signal(let signal): signalName(signal.number) + (place.isEmpty ? "" : " at \(place)")
            case .exit(let status): "a call of exit(\(status))"
            case .killed: "an end without a trace"
            }
        if case .signal(let signal) = cause {
            if let address = signal.address { text += " (address 0x\(String(address, radix: 16)))" }
            if let sender = signal.sender, sender != 0, culprit == nil { text += ", sent by process \(sender)" }
        }
        if let frame, let culprit, !place.hasSuffix("+\(frame)") { text += ", called from \(culprit.plugin) at \(frame)" }
        if !activity.isEmpty { return text + " in \(activity)" }
        return serving.isEmpty ? text : text + " while it served \(serving.joined(separator: ", "))"
    }

    /// It could have no more memory, which few programs survive.
    package var isOutOfMemory: Bool { dataLimit.map { dataBytes >= $0 - $0 / 16 } ?? false }
}

/// Whose code it was.
package struct Culprit: Sendable, Hashable {
    /// The crash was at one of its instructions; the call engine had it running on the thread; it was among the callers.
    package enum Evidence: String, Sendable, Hashable { case instruction, frame, stack }

    package var plugin: String
    package var generation: Int
    /// Its content.
    package var digest: String
    package var evidence: Evidence
}

/// "SIGSEGV", or "signal 99".
package func signalName(_ number: Int32) -> String {
    let names: [Int32: String] = [
        SIGSEGV: "SIGSEGV", SIGABRT: "SIGABRT", SIGILL: "SIGILL", SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGTRAP: "SIGTRAP",
        SIGKILL: "SIGKILL", SIGTERM: "SIGTERM", SIGSYS: "SIGSYS", SIGXCPU: "SIGXCPU", SIGINT: "SIGINT", SIGHUP: "SIGHUP",
    ]
    return names[number] ?? "signal \(number)"
}
