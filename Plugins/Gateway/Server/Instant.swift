import Glibc

/// A moment of the world's clock.
package struct Instant: Sendable, Hashable {
    /// Since 1970-01-01T00:00:00Z.
    package var seconds: Int

    package init(seconds: Int) { self.seconds = seconds }

    package static var now: Instant { Instant(seconds: time(nil)) }

    /// As RFC 3339 writes it, such as `2026-07-28T12:00:00Z`.
    package var text: String {
        var seconds = time_t(seconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let length = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: text.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
