import CKnap

public enum LogLevel: Int32, Sendable, Comparable, CaseIterable {
    case trace = 0
    case debug = 1
    case info = 2
    case warn = 3
    case error = 4

    public static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }

    var name: String { "\(self)" }
}

/// The host's log: a message that does not vary, and the fields that do.
///
///     host.log.info("index built", ["notes": count], call: call)
///
/// The host adds the plugin, its generation and, where a call is named, its trace. Fields are not even evaluated when
/// a record of their level would not be kept.
public struct Log: Sendable {
    public typealias Fields = KeyValuePairs<String, any CustomStringConvertible>

    let link: HostLink

    public func trace(_ message: String, _ fields: @autoclosure () -> Fields = [:], call: Call? = nil) {
        write(.trace, message, fields(), call: call)
    }

    public func debug(_ message: String, _ fields: @autoclosure () -> Fields = [:], call: Call? = nil) {
        write(.debug, message, fields(), call: call)
    }

    public func info(_ message: String, _ fields: @autoclosure () -> Fields = [:], call: Call? = nil) {
        write(.info, message, fields(), call: call)
    }

    public func warn(_ message: String, _ fields: @autoclosure () -> Fields = [:], call: Call? = nil) {
        write(.warn, message, fields(), call: call)
    }

    public func error(_ message: String, _ fields: @autoclosure () -> Fields = [:], call: Call? = nil) {
        write(.error, message, fields(), call: call)
    }

    /// Whether a record of this level would be kept.
    public func isEnabled(_ level: LogLevel) -> Bool {
        guard let log = link.extensions.log?.pointee else { return false }
        return (link.use { host in log.enabled(host, level.rawValue) } ?? 0) != 0
    }

    public func write(_ level: LogLevel, _ message: String, _ fields: @autoclosure () -> Fields, call: Call? = nil) {
        guard isEnabled(level), let log = link.extensions.log?.pointee else { return }
        // All keys and values lie in one buffer, so that any number of them can be borrowed at once.
        var text: [UInt8] = []
        var ends: [Int] = []
        for (key, value) in fields() {
            text.append(contentsOf: key.utf8)
            ends.append(text.count)
            text.append(contentsOf: "\(value)".utf8)
            ends.append(text.count)
        }
        text.withUnsafeBytes { text in
            let pieces = zip([0] + ends, ends).map { start, end in
                knap_text_t(
                    data: text.baseAddress?.advanced(by: start).assumingMemoryBound(to: CChar.self),
                    size: UInt64(end - start))
            }
            let records = stride(from: 0, to: pieces.count, by: 2).map {
                knap_log_field_t(key: pieces[$0], value: pieces[$0 + 1])
            }
            message.withText { message in
                _ = link.use { host in
                    log.write(host, level.rawValue, call?.handle ?? 0, message, records, UInt32(records.count))
                }
            }
        }
    }
}
