/// Which plugins may run, by who signed them: the setting `host.signatures`.
///
/// A file whose signature does not fit never gets this far: `PluginStore` refuses it whatever the policy is.
enum SignaturePolicy: String, Sendable, CaseIterable {
    /// All of them; a signature by a trusted key carries grants over to the next version, nothing else.
    case any
    /// Those signed by a key that the operator trusts.
    case signed
    /// The same, and by a key that signed the version before: another trusted key cannot take over a name.
    ///
    /// A signer changes keys by signing one version with both: after that version ran, the new one suffices.
    case pinned
}

/// What a policy says of one content of one plugin.
struct SignatureVerdict: Sendable, Equatable {
    /// Those who signed it and are trusted.
    var trusted: [TrustedKey]
    /// Why it may not run, and what to do; nil: it may.
    var refusal: String?

    var fingerprints: Set<Digest> { Set(trusted.map(\.key.fingerprint)) }
}

extension SignaturePolicy {
    func verdict(on plugin: String, signers: [PublicKey], _ trust: Trust) -> SignatureVerdict {
        var verdict = SignatureVerdict(trusted: trust.trusted(among: signers))
        switch self {
        case .any: break
        case .signed: verdict.refusal = refusal(signers, verdict)
        case .pinned:
            verdict.refusal = refusal(signers, verdict)
            guard verdict.refusal == nil, let pinned = trust.pins[plugin], pinned.isDisjoint(with: verdict.fingerprints)
            else { break }
            let old = pinned.map(trust.name).sorted().joined(separator: " and ")
            verdict.refusal =
                "it is signed by \(verdict.trusted.map(\.name).joined(separator: " and ")), but the version before was signed by "
                + "\(old), and host.signatures is 'pinned'; 'knap plugins trust unpin \(plugin)' lets another signer take over"
        }
        return verdict
    }

    private func refusal(_ signers: [PublicKey], _ verdict: SignatureVerdict) -> String? {
        guard verdict.trusted.isEmpty else { return nil }
        guard !signers.isEmpty else {
            return "it is not signed, and host.signatures is '\(rawValue)'; have it signed ('knap plugins sign') by somebody "
                + "whom you trust ('knap plugins trust list')"
        }
        let keys = signers.map { "\($0.fingerprint)" }.joined(separator: " and ")
        return "it is signed by the key \(keys), which is not trusted here, and host.signatures is '\(rawValue)'; if you know "
            + "whose it is, 'knap plugins trust add FILE.pub' lets it run"
    }
}
