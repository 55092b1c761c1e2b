import Glibc
import KnapBlackBox

/// How a worker's process ended: what the kernel says, and what the process wrote of it.
///
/// The second is its own word, believed only where it agrees with the first, and only as a report.
struct WorkerDeath: Sendable {
    /// `knap_reap`'s answer: the signal that ended it, negated, or its exit status.
    var status: Int32
    var crash: Crash?
    /// What it may have of memory in all, where it had that and was ended for it.
    var memoryLimit: Int?

    /// `memoryLimit`: that of its control group, if the kernel ended a process there.
    init(status: Int32, crash: Crash?, memoryLimit: Int? = nil) {
        self.status = status
        self.memoryLimit = status == -SIGKILL ? memoryLimit : nil
        let agrees =
            switch crash?.cause {
            case .signal(let signal): signal.number == -status
            case .exit(let claimed): claimed & 0xFF == status
            case .killed, nil: false
            }
        self.crash = agrees ? crash : nil
    }

    /// A sentence without its end, for the record and the log.
    var reason: String {
        if let memoryLimit { return "it ran out of memory: it had all of the \(memoryLimit >> 20) MiB that it may have" }
        if let crash, crash.isOutOfMemory, let limit = crash.dataLimit {
            return "it ran out of memory: it had \(crash.dataBytes >> 20) MiB of the \(limit >> 20) MiB that it may have (\(crash.summary))"
        }
        guard status >= 0 else { return "its process was ended by \(crash?.summary ?? signalName(-status))" }
        let end = status == 0 ? "its process ended by itself" : "its process ended with exit code \(status)"
        return end + (crash.map { ": \($0.summary)" } ?? "")
    }
}

/// The page of memory into which a worker writes what happens to it.
final class WorkerBox: Sendable {
    /// For the worker.
    let descriptor: Int32
    /// The worker writes into it at any time, so it is copied before it is looked at.
    nonisolated(unsafe) private let page: UnsafePointer<knap_box_page_t>  // mapped until this goes

    /// Nil with errno set when there is no memory.
    init?() {
        var page: UnsafePointer<knap_box_page_t>?
        descriptor = knap_black_box_memory(&page)
        guard descriptor >= 0, let page else { return nil }
        self.page = page
    }

    deinit { knap_black_box_unmap(page) }

    /// What is written there of the process's end, if it came about by its own doing.
    var crash: Crash? {
        var copy = knap_box_page_t()
        guard knap_black_box_read(page, &copy) else { return nil }
        return switch knap_box_state_t(copy.state) {
        case KNAP_BOX_CRASHED: Crash(&copy.crash, isExit: false)
        case KNAP_BOX_EXITED: Crash(&copy.crash, isExit: true)
        default: nil
        }
    }
}
