import Crypto
import JWTKit
import Synchronization

/// Checks access tokens of one issuer (RFC 9068, section 4).
package final class TokenVerifier: Sendable {
    /// What a good token says.
    struct Grant: Sendable {
        var principal: String
        var scopes: Set<String>
    }

    enum Denial: Error, Sendable {
        case invalid(String)
        /// Nobody can tell whether it is good: the issuer's keys are not to be had.
        case unavailable(String)
    }

    private struct Known: Sendable {
        var grant: Grant
        var audiences: [String]
        var notBefore: Double
        var expiry: Double
        /// Of the keys that it was checked with.
        var generation: Int
    }

    /// How far the issuer's clock may be from this one's, in seconds.
    static let leeway = 30.0
    /// Tokens whose signature need not be checked again; past it all are forgotten.
    private static let remembered = 1024

    let issuer: Issuer
    private let keys: KeyStore
    private let known = Mutex<[SHA256Digest: Known]>([:])

    init(issuer: Issuer, keys: KeyStore) {
        self.issuer = issuer
        self.keys = keys
    }

    /// - Parameter report: Told why the issuer's keys cannot be read.
    package convenience init(issuer: Issuer, report: @escaping @Sendable (String) -> Void) {
        let client = IssuerClient(issuer: issuer)
        self.init(issuer: issuer, keys: KeyStore(read: { try await client.keys() }, report: report))
    }

    /// What a token grants.
    ///
    /// - Parameter audiences: What this server is called; a token for somebody else is refused (RFC 8707).
    func grant(
        of text: some StringProtocol, for audiences: Set<String>, now: Instant = .now
    ) async throws(Denial) -> Grant {
        let digest = SHA256.hash(data: Array(text.utf8))
        if let found = known.withLock({ $0[digest] }), found.generation == keys.current()?.generation {
            try check(notBefore: found.notBefore, expiry: found.expiry, now)
            try check(found.audiences, for: audiences)
            return found.grant
        }
        let token: AccessToken
        do {
            token = try AccessToken(text)
        } catch {
            throw .invalid(error.reason)
        }
        guard VerificationKeys.algorithms.contains(token.algorithm) else {
            throw .invalid("The token is not signed by an asymmetric algorithm that is known here")
        }
        // Before the signature: what cannot be good is not worth a look at the issuer's keys.
        let found = try claims(token, audiences, now)
        let generation = try await checkSignature(token)
        known.withLock { known in
            if known.count >= Self.remembered { known = [:] }
            known[digest] = Known(
                grant: found.grant, audiences: token.audiences, notBefore: found.notBefore, expiry: found.expiry,
                generation: generation)
        }
        return found.grant
    }

    // MARK: - Claims

    private func claims(
        _ token: AccessToken, _ audiences: Set<String>, _ now: Instant
    ) throws(Denial) -> (grant: Grant, notBefore: Double, expiry: Double) {
        guard token.issuer == issuer.identifier else { throw .invalid("The token is of another issuer") }
        try check(token.audiences, for: audiences)
        guard let expiry = token.expiry else { throw .invalid("The token has no expiry, exp") }
        let notBefore = token.notBefore ?? 0
        try check(notBefore: notBefore, expiry: expiry, now)
        guard let subject = token.subject, Self.isName(subject) else {
            throw .invalid("The token has no subject, sub, of 1 to 255 printable characters")
        }
        let grant = Grant(principal: "oauth:\(issuer.authority):\(subject)", scopes: token.scopes)
        return (grant, notBefore, expiry)
    }

    private func check(_ own: [String], for audiences: Set<String>) throws(Denial) {
        guard own.contains(where: audiences.contains) else {
            throw .invalid("The token is not for this server: its audience, aud, is another")
        }
    }

    private func check(notBefore: Double, expiry: Double, _ now: Instant) throws(Denial) {
        let seconds = Double(now.seconds)
        guard seconds < expiry + Self.leeway else { throw .invalid("The token has expired") }
        guard seconds >= notBefore - Self.leeway else { throw .invalid("The token is not valid yet") }
    }

    /// It goes into logs and files.
    private static func isName(_ subject: String) -> Bool {
        (1...255).contains(subject.utf8.count) && subject.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    // MARK: - Signature

    /// The generation of the keys that it fits.
    private func checkSignature(_ token: AccessToken) async throws(Denial) -> Int {
        var snapshot = keys.current()
        var candidates = snapshot?.keys.candidates(for: token) ?? []
        if candidates.isEmpty {
            // The issuer may have new keys.
            switch await keys.refresh() {
            case .failed: throw .unavailable("The issuer's keys cannot be read")
            case .tooOften where snapshot == nil: throw .unavailable("The issuer's keys could not be read a moment ago")
            case .done, .tooOften: break
            }
            snapshot = keys.current()
            candidates = snapshot?.keys.candidates(for: token) ?? []
        }
        guard let snapshot, !candidates.isEmpty else {
            throw .invalid("The issuer has no such key as the token names for its algorithm")
        }
        for algorithm in candidates where (try? algorithm.verify(token.signature, signs: token.signed)) == true {
            return snapshot.generation
        }
        throw .invalid("The token's signature is wrong")
    }
}
