import KnapJSON
import Synchronization

/// What the operator decided about plugins beyond grants: STATE/plugins.json. It is what is wanted, kept apart from what
/// is so.
final class OperatorChoices: Sendable {
    struct Choices: Sendable {
        var disabled: Set<String> = []
        var isolation: [String: Isolation] = [:]
        /// Contents that failed too often, and why.
        var quarantine: [String: String] = [:]
        /// Contents that may not run in the host's process, and why.
        var confined: [String: String] = [:]
    }

    private let path: String
    private let choices: Mutex<Choices>

    init(directory: String) throws(ConfigurationError) {
        path = directory + "/plugins.json"
        var read = Choices()
        if let bytes = readFile(path) {
            guard let object = try? JSON.parse(bytes).objectValue else {
                throw ConfigurationError(code: .malformed, message: "\(path) is not a JSON object; repair or remove it")
            }
            read.disabled = Set((object["disabled"]?.arrayValue ?? []).compactMap(\.stringValue))
            for (name, value) in object["isolation"]?.objectValue ?? JSONObject() {
                read.isolation[name] = value.stringValue.flatMap(Isolation.init(rawValue:))
            }
            for (digest, reason) in object["quarantine"]?.objectValue ?? JSONObject() {
                read.quarantine[digest] = reason.stringValue
            }
            for (digest, reason) in object["confined"]?.objectValue ?? JSONObject() {
                read.confined[digest] = reason.stringValue
            }
        }
        choices = Mutex(read)
    }

    var current: Choices { choices.withLock { $0 } }

    /// Changes them, durably: when it throws nothing has changed.
    func change(_ edit: (inout Choices) -> Void) throws(ConfigurationError) {
        let written = choices.withLock { choices in
            var changed = choices
            edit(&changed)
            guard replaceFile(path, with: Array((changed.json.serialized(.pretty) + "\n").utf8), mode: 0o600) else {
                return false
            }
            choices = changed
            return true
        }
        if !written {
            throw ConfigurationError(code: .unwritable, message: "\(path) cannot be written; nothing was changed")
        }
    }
}

extension OperatorChoices.Choices {
    fileprivate var json: JSON {
        [
            "disabled": .array(disabled.sorted().map { .string($0) }),
            "isolation": .object(
                JSONObject(isolation.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value.rawValue)) })),
            "confined": .object(JSONObject(confined.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })),
            "quarantine": .object(JSONObject(quarantine.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })),
        ]
    }
}
