import KnapJSON
import Synchronization

/// What the operator granted to plugins that did not come with Knap: STATE/grants.json.
///
/// A grant is for one content of one plugin: another file under the same name asks again. The one before keeps what it
/// was granted, because the host may return to it.
package final class GrantStore: Sendable {
    private let path: String
    private let grants: Mutex<JSONObject>

    package init(directory: String) throws(ConfigurationError) {
        path = directory + "/grants.json"
        guard let bytes = readFile(path) else {
            grants = Mutex(JSONObject())
            return
        }
        guard let object = try? JSON.parse(bytes).objectValue else {
            throw ConfigurationError(code: .malformed, message: "\(path) is not a JSON object; repair or remove it")
        }
        grants = Mutex(object)
    }

    /// What the plugin asks for and was not granted yet, in words.
    func missing(_ manifest: Manifest, identity: String) -> [String] {
        let latest = grants.withLock { $0[manifest.name] }
        guard let granted = [latest, latest?["previous"]].first(where: { $0?["identity"]?.stringValue == identity }) else {
            return manifest.permissions.requests
        }
        let known = Set((granted?["permissions"]?.arrayValue ?? []).compactMap(\.stringValue))
        return manifest.permissions.requests.filter { !known.contains($0) }
    }

    /// Grants all that this content of the plugin asks for, durably.
    func grant(_ manifest: Manifest, identity: String) throws(ConfigurationError) {
        let written = grants.withLock { grants in
            var changed = grants
            var grant: JSONObject = [
                "identity": .string(identity), "permissions": .array(manifest.permissions.requests.map { .string($0) }),
            ]
            if var before = changed[manifest.name]?.objectValue {
                let previous = before["previous"]
                before["previous"] = nil
                grant["previous"] = before["identity"]?.stringValue == identity ? previous : .object(before)
            }
            changed[manifest.name] = .object(grant)
            guard replaceFile(path, with: Array((JSON.object(changed).serialized(.pretty) + "\n").utf8), mode: 0o600)
            else { return false }
            grants = changed
            return true
        }
        if !written {
            throw ConfigurationError(code: .unwritable, message: "\(path) cannot be written; nothing was granted")
        }
    }
}

extension Permissions {
    /// Everything asked for, one line each, as the operator sees it.
    var requests: [String] {
        readPaths.map { "read files: \($0)" } + writePaths.map { "write files: \($0)" }
            + connect.map { "connect to \($0)" } + listen.map { "listen on port \($0)" }
            + environment.map { "read the variable \($0)" } + services.map { "call \($0)" }
            + hostMethods.map { "change the host: \($0)" }
            + (assertsPrincipal ? ["say for whom a call is made"] : [])
            + (observes ? ["observe all calls"] : []) + (intercepts ? ["intercept all calls"] : [])
    }
}
