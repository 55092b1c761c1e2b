import CVaultShims
import Glibc
import Synchronization

/// A thread that waits until it is woken, and ends when it is told to.
final class BackgroundThread: Sendable {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// An eventfd(2): readable when somebody woke it, or wants it to end.
    let waking: Int32
    private let thread = Mutex<pthread_t?>(nil)
    private let isStopping = Atomic<Bool>(false)

    /// - Parameter failure: What cannot be done without it, for people.
    init(_ failure: String) throws(VaultError) {
        waking = knap_vault_eventfd()
        guard waking >= 0 else {
            throw VaultError(.resourceExhausted, "\(failure): \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(waking) }

    /// It has been told to end.
    var shouldStop: Bool { isStopping.load(ordering: .acquiring) }

    /// Once. The body returns soon after ``shouldStop`` is true.
    func start(_ body: @escaping @Sendable () -> Void) {
        let context = Unmanaged.passRetained(Body(body)).toOpaque()
        var created = pthread_t()
        let failed = pthread_create(
            &created, nil,
            { context in
                // Passed below, never null.
                Unmanaged<Body>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context)
        if failed != 0 { Unmanaged<Body>.fromOpaque(context).release() }
        thread.withLock { $0 = failed == 0 ? created : nil }
    }

    /// Returns when the body has.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        wake()
        if let thread = thread.withLock({ $0.take() }) { pthread_join(thread, nil) }
    }

    func wake() {
        var one: UInt64 = 1
        write(waking, &one, 8)
    }

    /// For the body: returns when it was woken since it last asked. False where that cannot be known.
    func waitUntilWoken() -> Bool {
        var count: UInt64 = 0
        while read(waking, &count, 8) != 8 {
            guard errno == EINTR else { return false }
        }
        return true
    }
}
