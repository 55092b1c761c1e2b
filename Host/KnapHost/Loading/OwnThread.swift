import Glibc
import Synchronization

/// Runs work that may block or take its time on a thread of its own, and waits for it without blocking one of Swift's.
func onOwnThread<T: Sendable>(_ work: @escaping @Sendable () -> T) async -> T {
    await withCheckedContinuation { continuation in
        startThread { continuation.resume(returning: work()) }
    }
}

/// The same, but no longer than `limit`: nil when the work has not returned by then; its thread goes on.
func onOwnThread<T: Sendable>(within limit: Duration, _ work: @escaping @Sendable () -> T) async -> T? {
    let outcome = FirstOutcome<T>()
    var timer: Task<Void, Never>?
    let result = await withCheckedContinuation { continuation in
        outcome.wait(continuation)
        startThread { outcome.set(work()) }
        timer = Task {
            try? await Task.sleep(for: limit)
            outcome.set(nil)
        }
    }
    timer?.cancel()
    return result
}

/// Runs `work` on a thread of its own and does not wait for it.
func startThread(_ work: @escaping @Sendable () -> Void) {
    let job = Unmanaged.passRetained(Job(work))
    var thread = pthread_t()
    let failed = pthread_create(
        &thread, nil,
        { context in
            Unmanaged<Job>.fromOpaque(context!).takeRetainedValue().run()  // passed below, never null
            return nil
        }, job.toOpaque())
    if failed == 0 {
        pthread_detach(thread)
    } else {
        let job = job.takeRetainedValue()
        Task.detached { job.run() }  // no thread to be had: late is better than never
    }
}

private final class Job: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// The first of several outcomes, for whoever waits.
private final class FirstOutcome<T: Sendable>: Sendable {
    private let waiter = Mutex<CheckedContinuation<T?, Never>?>(nil)

    func wait(_ continuation: CheckedContinuation<T?, Never>) { waiter.withLock { $0 = continuation } }

    func set(_ value: T?) {
        let waiter = waiter.withLock { waiter in
            defer { waiter = nil }
            return waiter
        }
        waiter?.resume(returning: value)
    }
}
