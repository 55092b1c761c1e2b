import KnapJSON
import Synchronization

/// The last crashes of hosts on this state directory: STATE/crashes.json, newest last.
final class CrashLog: Sendable {
    /// One line of it: what later starts must know, and what people are shown.
    struct Entry: Sendable, Hashable {
        var timeMS: Int64
        /// Empty: nobody could be named.
        var plugin: String
        var digest: String
        var summary: String
        /// The host ended without a trace while a hook of the plugin ran.
        var isGuess: Bool
    }

    private static let most = 50
    private let path: String
    private let entries: Mutex<[Entry]>

    /// A file that cannot be read is as good as none: crashes are told once more, at most.
    init(directory: String) {
        path = directory + "/crashes.json"
        let stored = readFile(path).flatMap { try? JSON.parse($0)["crashes"]?.arrayValue } ?? []
        entries = Mutex(stored.compactMap(Entry.init))
    }

    var all: [Entry] { entries.withLock { $0 } }

    /// The newest of a plugin, in any of its versions.
    func last(of plugin: String) -> Entry? { all.last { $0.plugin == plugin } }

    /// False with errno set when it cannot be written; it is known to this host all the same.
    func add(_ new: [Entry]) -> Bool {
        entries.withLock { entries in
            entries = (entries + new).suffix(Self.most)
            let object: JSON = ["crashes": .array(entries.map(\.json))]
            return replaceFile(path, with: Array((object.serialized(.pretty) + "\n").utf8), mode: 0o600)
        }
    }
}

extension CrashLog.Entry {
    init(_ crash: Crash) {
        timeMS = crash.timeMS
        plugin = crash.culprit?.plugin ?? ""
        digest = crash.culprit?.digest ?? ""
        summary = crash.summary
        isGuess = crash.cause == .killed
    }

    init?(_ json: JSON) {
        guard let time = json["time_ms"]?.intValue, let summary = json["summary"]?.stringValue else { return nil }
        timeMS = Int64(time)
        plugin = json["plugin"]?.stringValue ?? ""
        digest = json["digest"]?.stringValue ?? ""
        self.summary = summary
        isGuess = json["guess"]?.boolValue ?? false
    }

    /// For people.
    var text: String { "\(dateText(milliseconds: timeMS)): \(summary)" }

    var json: JSON {
        [
            "time_ms": .number(JSONNumber(timeMS)), "plugin": .string(plugin), "digest": .string(digest),
            "summary": .string(summary), "guess": .bool(isGuess),
        ]
    }
}
