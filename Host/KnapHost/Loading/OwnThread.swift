import Glibc

/// Runs work that may block or take its time on a thread of its own, and waits for it without blocking one of Swift's.
func onOwnThread<T: Sendable>(_ work: @escaping @Sendable () -> T) async -> T {
    await withCheckedContinuation { continuation in
        let job = Unmanaged.passRetained(Job { continuation.resume(returning: work()) })
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
            job.takeRetainedValue().run()  // no thread to be had: late is better than never
        }
    }
}

private final class Job: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// Runs `work` on a thread of its own and does not wait for it.
func startThread(_ work: @escaping @Sendable () -> Void) {
    Task.detached { await onOwnThread(work) }
}
