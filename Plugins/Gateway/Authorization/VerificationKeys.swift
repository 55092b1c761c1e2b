import JWTKit
import KnapJSON

/// The public keys of an issuer (RFC 7517), ready to check signatures with.
struct VerificationKeys: Sendable {
    private struct Key: Sendable {
        /// Nil where the issuer gave it none.
        var id: String?
        /// By the name that a token's header has.
        var algorithms: [String: any JWTAlgorithm]
    }

    private let keys: [Key]

    var count: Int { keys.count }

    /// Asymmetric ones alone: whoever can check a symmetric signature can make one, and taking a public key for a
    /// secret is the classic attack (RFC 8725, section 2.1).
    static let algorithms: Set = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
    ]

    /// More keys than any issuer has; those after them are not looked at.
    private static let maximum = 64

    /// Reads a JWK Set. What is no public key for signatures, or of a kind that is not known, is left out.
    init(_ set: JSON) async {
        var keys: [Key] = []
        for json in (set["keys"]?.arrayValue ?? []).prefix(Self.maximum) {
            guard let key = await Self.key(json) else { continue }
            keys.append(key)
        }
        self.keys = keys
    }

    /// What may have signed a token: with the key's id where it names one, and an algorithm that the key is for.
    func candidates(for token: AccessToken) -> [any JWTAlgorithm] {
        keys.filter { $0.id == nil || token.keyID == nil || $0.id == token.keyID }
            .compactMap { $0.algorithms[token.algorithm] }
    }

    private static func key(_ json: JSON) async -> Key? {
        guard json["use"].map({ $0 == "sig" }) ?? true, json["key_ops"]?.arrayValue?.contains("verify") ?? true else {
            return nil
        }
        let id = json["kid"]?.stringValue
        let named = json["alg"]?.stringValue
        var algorithms: [String: any JWTAlgorithm] = [:]
        for (name, jwk) in forms(json, identifier: JWKIdentifier(string: "key")) where named == nil || named == name {
            let collection = JWTKeyCollection()
            guard (try? await collection.add(jwk: jwk)) != nil else { continue }
            algorithms[name] = try? await collection.getKey()
        }
        return algorithms.isEmpty ? nil : Key(id: id, algorithms: algorithms)
    }

    /// The key for each algorithm that its kind can have.
    private static func forms(_ json: JSON, identifier: JWKIdentifier) -> [(String, JWK)] {
        func text(_ name: String) -> String? { json[name]?.stringValue }
        switch (text("kty"), text("crv")) {
        case ("RSA", _):
            let algorithms: [JWK.Algorithm] = [.rs256, .rs384, .rs512, .ps256, .ps384, .ps512]
            return algorithms.map {
                ($0.rawValue, .rsa($0, identifier: identifier, modulus: text("n"), exponent: text("e")))
            }
        case ("EC", "P-256"): return [("ES256", elliptic(.es256, .p256))]
        case ("EC", "P-384"): return [("ES384", elliptic(.es384, .p384))]
        case ("EC", "P-521"): return [("ES512", elliptic(.es512, .p521))]
        case ("OKP", "Ed25519"):
            let key = JWK.octetKeyPair(.eddsa, identifier: identifier, x: text("x"), y: nil, curve: .ed25519)
            // The second is its name since RFC 9864.
            return [("EdDSA", key), ("Ed25519", key)]
        default: return []
        }
        func elliptic(_ algorithm: JWK.Algorithm, _ curve: ECDSACurve) -> JWK {
            .ecdsa(algorithm, identifier: identifier, x: text("x"), y: text("y"), curve: curve)
        }
    }
}
