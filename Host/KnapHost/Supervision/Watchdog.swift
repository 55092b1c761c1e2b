import Glibc
import KnapCallEngine
import KnapJSON
import KnapPlugin
import Logging
import Synchronization

/// Methods of plugins that do not return in their time: counted, logged, and shown by `knap plugins info`.
///
/// The watch of the call engine finds them, in this process and in each worker (Host/CallEngine/running.c); a worker whose
/// method hangs is ended, code in this process can only be reported.
final class Watchdog: Sendable {
    /// As the engine has them.
    enum Stage: UInt32, Sendable { case long = 1, hangs, returned }

    struct Held: Sendable {
        var method: String
        var stage: Stage
        /// Since it was first seen.
        var lasted: Duration
    }

    private struct Record {
        var times = 0
        var hangs = 0
        var longest = Duration.zero
        /// How many there were when it was last logged, and when.
        var logged: (times: Int, at: ContinuousClock.Instant)?
        /// By generation, since when it hangs.
        var hanging: [Int: ContinuousClock.Instant] = [:]
    }

    /// Of one plugin: a worker says what it likes.
    private static let mostMethods = 64
    private static let logEvery = Duration.seconds(60)

    private let logger: Logger
    private let plugins = Mutex<[String: [String: Record]]>([:])

    init(logger: Logger) { self.logger = logger }

    /// On any thread.
    func note(_ held: Held, plugin: String, generation: Int) {
        let method = String(held.method.unicodeScalars.prefix(160).map { $0.value < 0x20 || $0.value == 0x7F ? "?" : Character($0) })
        let now = ContinuousClock.now
        let message = plugins.withLock { plugins -> (Logger.Level, String)? in
            if plugins[plugin]?[method] == nil, plugins[plugin]?.count ?? 0 >= Self.mostMethods { return nil }
            var record = plugins[plugin]?[method] ?? Record()
            defer { plugins[plugin, default: [:]][method] = record }
            record.longest = max(record.longest, held.lasted)
            switch held.stage {
            case .long:
                record.times += 1
                let before = record.logged
                guard before.map({ now - $0.at >= Self.logEvery }) ?? true else { return nil }
                record.logged = (record.times, now)
                let count = record.times - (before?.times ?? 0)
                return (.warning, "it held a thread for more than 1 ms, although it may not block\(count > 1 ? "; \(count) times since this was last logged" : "")")
            case .hangs:
                record.hangs += 1
                record.hanging[generation] = now - held.lasted
                return (.error, "it hangs: it has not returned for \(held.lasted.inMilliseconds) ms")
            case .returned:
                guard record.hanging.removeValue(forKey: generation) != nil else { return nil }
                return (.notice, "it returned after \(held.lasted.inMilliseconds) ms")
            }
        }
        guard let (level, text) = message else { return }
        logger.log(level: level, "\(text)", metadata: ["plugin": .string(plugin), "method": .string(method)])
    }

    /// The process of this generation is gone, and what hung in it.
    func ended(_ plugin: String, generation: Int) {
        plugins.withLock { plugins in
            for method in plugins[plugin].map({ Array($0.keys) }) ?? [] {
                plugins[plugin]?[method]?.hanging[generation] = nil
            }
        }
    }

    /// What `knap plugins info` says.
    func report(of plugin: String) -> [(String, JSON)] {
        let methods = (plugins.withLock { $0[plugin] } ?? [:]).sorted { $0.key < $1.key }
        guard !methods.isEmpty else { return [] }
        let now = ContinuousClock.now
        return [
            (
                "held",
                .array(
                    methods.map { method, record in
                        var row: JSONObject = [
                            "method": .string(method), "times": .number(JSONNumber(record.times)),
                            "longest_ms": .number(JSONNumber(record.longest.inMilliseconds)),
                            "hangs": .number(JSONNumber(record.hangs)),
                        ]
                        if let since = record.hanging.values.min() {
                            row["hanging_ms"] = .number(JSONNumber((now - since).inMilliseconds))
                        }
                        return .object(row)
                    })
            )
        ]
    }

    /// What hangs now, each in words.
    func hanging(in plugin: String) -> [String] {
        let methods = (plugins.withLock { $0[plugin] } ?? [:]).sorted { $0.key < $1.key }
        return methods.compactMap { method, record in
            record.hanging.values.min().map { "\(method) has not returned for \((ContinuousClock.now - $0).inMilliseconds / 1000) s" }
        }
    }
}

/// The state of a process as proc(5) has it, such as "S" or "T"; empty when there is none.
func processState(_ pid: Int32) -> String {
    let text = readFile("/proc/\(pid)/stat").map { String(decoding: $0, as: UTF8.self) } ?? ""
    // After the name, which is in parentheses and may hold anything.
    guard let end = text.lastIndex(of: ")") else { return "" }
    return text[text.index(after: end)...].split(separator: " ").first.map(String.init) ?? ""
}
