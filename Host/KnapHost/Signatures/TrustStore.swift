import Glibc
import KnapJSON
import Synchronization

/// A key that the operator trusts, under the name that the operator gave it.
package struct TrustedKey: Sendable, Hashable {
    package let name: String
    package let key: PublicKey
}

/// Whom the operator trusts, and who signed each plugin that ran last.
struct Trust: Sendable, Equatable {
    var keys: [TrustedKey] = []
    /// By plugin: the fingerprints of those who signed the version that served last.
    var pins: [String: Set<Digest>] = [:]

    /// Those of the signers that are trusted.
    func trusted(among signers: [PublicKey]) -> [TrustedKey] { keys.filter { signers.contains($0.key) } }

    /// What to call the holder of a key.
    func name(of fingerprint: Digest) -> String {
        keys.first { $0.key.fingerprint == fingerprint }?.name ?? "the key \(fingerprint)"
    }
}

/// Whom the operator trusts, kept in STATE/trust.json.
final class TrustStore: Sendable {
    private let path: String
    private let trust: Mutex<Trust>

    init(directory: String) throws(ConfigurationError) {
        path = directory + "/trust.json"
        guard let bytes = readFile(path) else {
            // What cannot be read must not pass for an operator who trusts nobody and pins nothing.
            guard errno == ENOENT else {
                throw ConfigurationError(code: .unreadable, message: "\(path) cannot be read: \(errorText(errno))")
            }
            trust = Mutex(Trust())
            return
        }
        guard let read = (try? JSON.parse(bytes)).flatMap(Trust.init) else {
            throw ConfigurationError(
                code: .malformed, message: "\(path) is not what the host wrote there; restore it, or remove it to trust nobody")
        }
        trust = Mutex(read)
    }

    var current: Trust { trust.withLock { $0 } }

    /// Changes it, durably: when it throws nothing has changed. Blocks on the disk.
    func change(_ edit: (inout Trust) -> Void) throws(ConfigurationError) {
        let failure: Int32? = trust.withLock { trust in
            var changed = trust
            edit(&changed)
            if changed == trust { return nil }
            guard replaceFile(path, with: Array((changed.json.serialized(.pretty) + "\n").utf8), mode: 0o600) else {
                return errno
            }
            trust = changed
            return nil
        }
        if let failure {
            throw ConfigurationError(
                code: .unwritable, message: "\(path) cannot be written: \(errorText(failure)); nothing was changed")
        }
    }
}

extension Trust {
    /// Nil when the JSON is not what `json` makes: a key that is passed over would be one that is not trusted.
    fileprivate init?(_ json: JSON) {
        for entry in json["keys"]?.arrayValue ?? [] {
            guard let name = entry["name"]?.stringValue,
                let key = entry["key"]?.stringValue.flatMap(Hexadecimal.bytes).flatMap(PublicKey.init)
            else { return nil }
            keys.append(TrustedKey(name: name, key: key))
        }
        for (plugin, list) in json["pins"]?.objectValue ?? JSONObject() {
            let fingerprints = (list.arrayValue ?? []).compactMap { $0.stringValue.flatMap(Digest.init) }
            guard let count = list.arrayValue?.count, count == fingerprints.count else { return nil }
            pins[plugin] = Set(fingerprints)
        }
        guard self.json == json else { return nil }
    }

    fileprivate var json: JSON {
        let pins = pins.sorted { $0.key < $1.key }.map { plugin, fingerprints in
            (plugin, JSON.array(fingerprints.map { "\($0)" }.sorted().map { .string($0) }))
        }
        return [
            "keys": .array(keys.map { ["name": .string($0.name), "key": .string(Hexadecimal.text($0.key.bytes))] }),
            "pins": .object(JSONObject(pins)),
        ]
    }
}
