import KnapJSON
import KnapPlugin
import Logging

/// Which plugins the operator's policy on signatures lets run.
extension Host {
    /// What the policy says of a content. What ships with Knap is part of the installation, as the host itself is: who can
    /// replace it can replace the one who checks, so it needs no signature.
    ///
    /// - Parameter isNew: It is to take the place of what runs or ran: then only the signatures in its file count, as they will
    ///   at the next start, and the pin does. What ran before was measured by it then.
    func verdict(on artifact: Artifact, _ record: PluginRecord, isNew: Bool = false) -> SignatureVerdict {
        guard !record.isFirstParty else { return SignatureVerdict(trusted: []) }
        let policy = signaturePolicy == .pinned && !isNew ? .signed : signaturePolicy
        let signers = isNew ? artifact.signers : record.signers(of: artifact)
        return policy.verdict(on: record.name, signers: signers, trust.current)
    }

    /// Keeps the fingerprints of those who signed what runs now: the next version is measured by them, and what was granted
    /// is theirs.
    func rememberSigners() async {
        let running = records.values.compactMap { record -> (name: String, identity: String, signers: Set<Digest>)? in
            guard !record.isFirstParty, let artifact = record.instance?.artifact else { return nil }
            let signers = verdict(on: artifact, record).fingerprints
            return signers.isEmpty ? nil : (record.name, "\(artifact.digest)", signers)
        }
        if running.isEmpty { return }
        let (trust, grants) = (trust, grants)
        let written: Result<Void, ConfigurationError> = await onOwnThread {
            Result { () throws(ConfigurationError) in
                try trust.change { trust in for plugin in running { trust.pins[plugin.name] = plugin.signers } }
                for plugin in running {
                    try grants.handOn(plugin.name, identity: plugin.identity, to: plugin.signers)
                }
            }
        }
        if case .failure(let error) = written {
            logger.error("signers not remembered", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: Whom the operator trusts

    /// Trusts a key under a name from now on; what waited for it starts.
    func trust(_ name: String, pem: String) throws(PluginError) -> JSON {
        guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw PluginError(
                code: .invalidArgument, message: "'\(name)' cannot be the name of a key: 1 to 64 characters of ASCII without spaces")
        }
        let key: PublicKey
        do { key = try PublicKey(pem: Array(pem.utf8), name: "'\(name)'") } catch {
            throw PluginError(code: .invalidArgument, message: error.message)
        }
        if let known = trust.current.keys.first(where: { $0.name == name || $0.key == key }) {
            throw PluginError(
                code: .alreadyExists,
                message: known.key == key
                    ? "this key is trusted already, as '\(known.name)'"
                    : "'\(name)' is another key, \(known.key.fingerprint); 'knap plugins trust remove \(name)' first")
        }
        return changeTrust("trust add", name, "trusts \(name), \(key.fingerprint)") { trust in
            trust.keys.append(TrustedKey(name: name, key: key))
        }
    }

    /// Trusts a key no longer; what only it vouched for stops, if the policy wants a signature.
    func distrust(_ name: String) throws(PluginError) -> JSON {
        let keys = trust.current.keys
        guard keys.contains(where: { $0.name == name }) else {
            throw PluginError(
                code: .notFound, message: "no key named '\(name)' is trusted\(NearestMatch.hint(name, among: keys.map(\.name)))")
        }
        return changeTrust("trust remove", name, "\(name) is trusted no longer") { trust in
            trust.keys.removeAll { $0.name == name }
        }
    }

    /// Forgets who signed a plugin, so that another trusted key may sign its next version.
    func unpin(_ plugin: String) throws(PluginError) -> JSON {
        let pins = trust.current.pins
        guard pins[plugin] != nil else {
            throw PluginError(
                code: .notFound, message: "'\(plugin)' is pinned to nobody\(NearestMatch.hint(plugin, among: pins.keys.sorted()))")
        }
        return changeTrust("trust unpin", plugin, "the next trusted signer of \(plugin) is taken") { trust in
            trust.pins[plugin] = nil
        }
    }

    private func changeTrust(
        _ kind: String, _ target: String, _ done: String, _ edit: @escaping @Sendable (inout Trust) -> Void
    ) -> JSON {
        begin(kind, target) { [self] () throws(PluginError) in
            let trust = trust
            try await durably { () throws(ConfigurationError) in try trust.change(edit) }
            await reconcile()
            return done
        }
    }

    // MARK: Reports

    var trustReport: JSON {
        let trust = trust.current
        let pins = trust.pins.sorted { $0.key < $1.key }.map { plugin, signers in
            (plugin, JSON.array(signers.map(trust.name).sorted().map { .string($0) }))
        }
        return [
            "policy": .string(signaturePolicy.rawValue),
            "keys": .array(
                trust.keys.map {
                    ["name": .string($0.name), "fingerprint": .string("\($0.key.fingerprint)"), "key": .string($0.key.pem)]
                }),
            "pins": .object(JSONObject(pins)),
        ]
    }

    /// Who signed a content and what follows from it.
    func signatureReport(_ artifact: Artifact, _ record: PluginRecord) -> JSON {
        guard !record.isFirstParty else { return ["outcome": "part of the installation"] }
        let verdict = verdict(on: artifact, record)
        var report: JSONObject = [
            "policy": .string(signaturePolicy.rawValue),
            "outcome": .string(verdict.refusal == nil ? "allowed" : "refused"),
            "signers": .array(
                record.signers(of: artifact).map { key in
                    let name = verdict.trusted.first { $0.key == key }?.name
                    return [
                        "fingerprint": .string("\(key.fingerprint)"), "trusted": .bool(name != nil),
                        "name": name.map { .string($0) } ?? .null,
                    ]
                }),
        ]
        if let refusal = verdict.refusal { report["reason"] = .string(refusal) }
        return .object(report)
    }
}
