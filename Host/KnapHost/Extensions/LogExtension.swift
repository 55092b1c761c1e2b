import CKnap
import Logging

/// `knap.log/1`: a plugin's records, in the host's log.
enum LogExtension {
    // Immutable after this; read by any thread.
    nonisolated(unsafe) static let table = permanent(
        knap_host_log_t(
            size: size(of: knap_host_log_t.self), reserved: 0,
            enabled: { host, level in
                guard let host else { return 0 }
                return InstanceContext.of(host).logger.logLevel <= logLevel(level) ? 1 : 0
            },
            write: { host, level, _, message, fields, count in
                guard let host else { return }
                var metadata: Logger.Metadata = [:]
                for field in UnsafeBufferPointer(start: fields, count: Int(count)) {
                    metadata[String(text: field.key)] = .string(String(text: field.value))
                }
                InstanceContext.of(host).logger.log(
                    level: logLevel(level), "\(String(text: message))", metadata: metadata)
            }))

    static func logLevel(_ level: Int32) -> Logger.Level {
        switch level {
        case ..<1: .trace
        case 1: .debug
        case 2: .info
        case 3: .warning
        default: .error
        }
    }
}
