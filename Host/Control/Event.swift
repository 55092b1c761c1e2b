import CLinux
import Glibc

/// Wakes a thread that sleeps in `poll` (eventfd).
final class Event: Sendable {
    let descriptor: Int32

    init() throws(ControlError) {
        descriptor = knap_event()
        guard descriptor >= 0 else { throw .system(errno, "make an event for", "the control socket") }
    }

    deinit { close(descriptor) }

    func signal() {
        var one: UInt64 = 1
        // It can fail only where the event is signalled already.
        _ = write(descriptor, &one, 8)
    }

    func clear() {
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)
    }
}
