import Glibc
import NIOCore

/// What a connection may take: time, bytes, and its share of the process's descriptors.
package struct ConnectionLimits: Sendable {
    /// How long the first request's head may take, however its bytes come: whoever connects and says nothing is gone soon.
    package var firstHead = TimeAmount.seconds(30)
    /// How long a connection may be idle before its next request's head is there. Clients keep theirs for about a minute.
    package var nextHead = TimeAmount.seconds(75)
    /// How long a body may take, besides the time that it takes at the slowest rate.
    package var body = TimeAmount.seconds(30)
    /// The slowest rate, in bytes a second.
    package var bodyRate = 4096

    /// How much of the next requests is kept while one is answered. The client has sent it and ended its sending: else it is
    /// not read before.
    package var pendingBytes = 256 * 1024

    /// How long the rest of a body may go on coming after its request was answered: a client that sends all before it
    /// reads finds the answer only then.
    package var rest = TimeAmount.seconds(30)
    package var restBytes = LineFramer.defaultLimit
    /// How long the server waits for the other side's end after its own, so that the last answer is not lost (RFC 9112,
    /// section 9.6).
    package var closing = TimeAmount.seconds(2)

    /// When a client that has ended its sending is probed for whether it still listens.
    package var probe = TimeAmount.milliseconds(250)
    /// How long a client may take nothing of what it is sent. Its connection holds some events and one answer meanwhile.
    package var unread = TimeAmount.seconds(60)

    /// More connections are told to come later. A quarter of the descriptors stays for the rest of the process: files of
    /// the vault, workers, the control socket.
    package var connections = min(16_384, Self.descriptors / 4 * 3)

    package init() {}

    private static var descriptors: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }
}
