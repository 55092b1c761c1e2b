import Glibc
import KnapJSON
import Synchronization

/// What the operator granted to plugins that did not come with Knap: STATE/grants.json.
///
/// A grant is for one plugin by one signer: the next version that the same trusted key signed keeps it, as far as it asks
/// for nothing new. Without a signature it is for one content: another file under the same name asks again.
///
/// The grant before the latest is kept too, because the host may return to what it was given to.
package final class GrantStore: Sendable {
    private let path: String
    /// By plugin, the latest first.
    private let grants: Mutex<[String: [Grant]]>

    fileprivate struct Grant: Sendable, Equatable {
        /// The digest of the content that it was given to.
        var identity: String
        /// The fingerprints of those who signed it and were trusted.
        var signers: Set<String> = []
        var permissions: [String]

        func covers(identity: String, signers: Set<String>) -> Bool {
            self.identity == identity || !self.signers.isDisjoint(with: signers)
        }
    }

    package init(directory: String) throws(ConfigurationError) {
        path = directory + "/grants.json"
        guard let bytes = readFile(path) else {
            grants = Mutex([:])
            return
        }
        guard let object = try? JSON.parse(bytes).objectValue else {
            throw ConfigurationError(code: .malformed, message: "\(path) is not a JSON object; repair or remove it")
        }
        grants = Mutex(
            Dictionary(object.members.map { name, value in (name, [value, value["previous"]].compactMap { $0 }.map(Grant.init)) }) {
                _, last in last
            })
    }

    /// What the plugin asks for and was not granted yet, in words.
    ///
    /// - Parameter signers: those who signed this content and are trusted.
    func missing(_ manifest: Manifest, identity: String, signers: Set<Digest>) -> [String] {
        let known = grants.withLock { $0[manifest.name] ?? [] }
        // One that was given to this very content says more than one of its signers'.
        let grant = known.first { $0.identity == identity } ?? known.first { $0.covers(identity: identity, signers: signers.texts) }
        guard let grant else { return manifest.permissions.requests }
        return manifest.permissions.requests.filter { !grant.permissions.contains($0) }
    }

    /// Grants all that this content of the plugin asks for, durably. Blocks on the disk.
    func grant(_ manifest: Manifest, identity: String, signers: Set<Digest>) throws(ConfigurationError) {
        try change { grants in
            let before = (grants[manifest.name] ?? []).filter { $0.identity != identity }
            let grant = Grant(identity: identity, signers: signers.texts, permissions: manifest.permissions.requests)
            grants[manifest.name] = [grant] + before.prefix(1)
        }
    }

    /// Hands what a plugin was granted on to those who signed the content that runs now by that grant: so a signer can
    /// change keys by signing one version with both. Blocks on the disk when that changes anything.
    func handOn(_ plugin: String, identity: String, to signers: Set<Digest>) throws(ConfigurationError) {
        try change { grants in
            guard !signers.isEmpty,
                let index = grants[plugin]?.firstIndex(where: { $0.covers(identity: identity, signers: signers.texts) })
            else { return }
            grants[plugin]?[index].signers = signers.texts
        }
    }

    private func change(_ edit: (inout [String: [Grant]]) -> Void) throws(ConfigurationError) {
        let failure: Int32? = grants.withLock { grants in
            var changed = grants
            edit(&changed)
            if changed == grants { return nil }
            let json = JSON.object(JSONObject(changed.sorted { $0.key < $1.key }.map { ($0.key, Grant.json($0.value)) }))
            guard replaceFile(path, with: Array((json.serialized(.pretty) + "\n").utf8), mode: 0o600) else { return errno }
            grants = changed
            return nil
        }
        if let failure {
            throw ConfigurationError(
                code: .unwritable, message: "\(path) cannot be written: \(errorText(failure)); nothing was granted")
        }
    }
}

extension GrantStore.Grant {
    fileprivate init(_ json: JSON) {
        let texts = { (name: String) in (json[name]?.arrayValue ?? []).compactMap(\.stringValue) }
        self.init(
            identity: json["identity"]?.stringValue ?? "", signers: Set(texts("signers")), permissions: texts("permissions"))
    }

    fileprivate static func json(_ grants: [Self]) -> JSON {
        guard let latest = grants.first else { return .null }
        var object = latest.object
        if grants.count > 1 { object["previous"] = .object(grants[1].object) }
        return .object(object)
    }

    private var object: JSONObject {
        [
            "identity": .string(identity), "signers": .array(signers.sorted().map { .string($0) }),
            "permissions": .array(permissions.map { .string($0) }),
        ]
    }
}

extension Set<Digest> {
    fileprivate var texts: Set<String> { Set<String>(map { "\($0)" }) }
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
