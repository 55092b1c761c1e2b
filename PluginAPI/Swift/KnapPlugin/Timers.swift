import CKnap
import Synchronization

/// Waiting for a time without a thread.
public struct Timers: Sendable {
    let link: HostLink
    let activities: Activities

    /// Returns at the deadline or soon after. Throws `CancellationError` when the task is cancelled or the instance
    /// suspended first.
    public func sleep(until deadline: Deadline) async throws {
        try Task.checkCancellation()
        let sleep = Sleep(link: link)
        try sleep.start(deadline)
        let activity = activities.add { sleep.stop() }
        defer { activities.remove(activity) }
        try await withTaskCancellationHandler {
            try await sleep.wait()
        } onCancel: {
            sleep.stop()
        }
    }

    /// Returns after this long. As ``sleep(until:)``.
    public func sleep(for duration: Duration) async throws { try await sleep(until: .after(duration)) }
}

/// One timer: ends by firing or by being stopped, whichever is first.
private final class Sleep: Sendable {
    private enum State {
        case running(UnsafeContinuation<Void, any Error>?)
        case ended(Result<Void, any Error>)
    }

    private let link: HostLink
    private let timer = Atomic<UInt64>(0)
    private let state = Mutex(State.running(nil))

    init(link: HostLink) { self.link = link }

    /// The host gets a reference, given back by the timer that fires or by whoever stops it before.
    func start(_ deadline: Deadline) throws(PluginError) {
        let context = Unmanaged.passRetained(self)
        let id: UInt64
        do throws(PluginError) {
            id = try link.use(link.extensions.timers, KNAP_EXT_TIMERS) { host, timers throws(PluginError) in
                var id: UInt64 = 0
                let status = timers.start(
                    host, deadline.nanoseconds,
                    { context in
                        guard let context else { return }
                        Unmanaged<Sleep>.fromOpaque(context).takeRetainedValue().end(.success(()))
                    }, context.toOpaque(), &id)
                try PluginError.check(status, "start a timer")
                return id
            }
        } catch {
            context.release()
            throw error
        }
        timer.store(id, ordering: .releasing)
    }

    func stop() {
        let id = timer.load(ordering: .acquiring)
        let status = link.use { host in link.extensions.timers?.pointee.stop(host, id) ?? -1 }
        // OK: it will not fire, so its reference is ours to give back. Otherwise it has fired or is about to.
        if status == 0 { Unmanaged.passUnretained(self).release() }
        end(.failure(CancellationError()))
    }

    func wait() async throws {
        try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
            let result = state.withLock { state -> Result<Void, any Error>? in
                if case .ended(let result) = state { return result }
                state = .running(continuation)
                return nil
            }
            if let result { continuation.resume(with: result) }
        }
    }

    private func end(_ result: Result<Void, any Error>) {
        let waiting = state.withLock { state -> UnsafeContinuation<Void, any Error>? in
            guard case .running(let waiting) = state else { return nil }
            state = .ended(result)
            return waiting
        }
        waiting?.resume(with: result)
    }
}
