import Crypto
import KnapJSON
import Synchronization
import Testing

@testable import Gateway

/// An issuer in memory: a key that signs, and the set that it publishes.
private struct Signer {
    static let address = "https://issuer.example"
    let key = P256.Signing.PrivateKey()
    let id: String

    init(_ id: String = "one") { self.id = id }

    var jwk: JSON {
        let point = Array(key.publicKey.rawRepresentation)
        return [
            "kty": "EC", "crv": "P-256", "kid": .string(id), "x": .string(Base64.encodeForURL(point.prefix(32))),
            "y": .string(Base64.encodeForURL(point.suffix(32))),
        ]
    }

    func token(_ claims: JSONObject = [:], header: JSONObject = [:]) throws -> String {
        var all: JSONObject = [
            "iss": .string(Self.address), "sub": "ada", "aud": "https://notes.example/mcp", "exp": 1000,
            "scope": "mcp:read",
        ]
        for (name, value) in claims.members { all[name] = value }
        var head: JSONObject = ["alg": "ES256", "kid": .string(id)]
        for (name, value) in header.members { head[name] = value }
        let parts = [head, all].map { Base64.encodeForURL(Array(JSON.object($0).serialized().utf8)) }
        let signed = parts.joined(separator: ".")
        let signature = try key.signature(for: Array(signed.utf8))
        return signed + "." + Base64.encodeForURL(Array(signature.rawRepresentation))
    }

    func keys(_ others: [JSON] = []) async -> VerificationKeys {
        await VerificationKeys(["keys": .array(others + [jwk])])
    }
}

/// What the issuer answers now, and how often it was asked.
private final class Published: Sendable {
    private let state: Mutex<(answer: Result<VerificationKeys, IssuerClient.Failure>, reads: Int)>

    init(_ keys: VerificationKeys) { state = Mutex((.success(keys), 0)) }

    var reads: Int { state.withLock { $0.reads } }
    func set(_ answer: Result<VerificationKeys, IssuerClient.Failure>) { state.withLock { $0.answer = answer } }

    func read() throws -> VerificationKeys {
        try state.withLock { state in
            state.reads += 1
            return state.answer
        }.get()
    }

    func verifier() throws -> TokenVerifier {
        TokenVerifier(issuer: try Issuer(Signer.address), keys: KeyStore(read: { try self.read() }, report: { _ in }))
    }
}

private let audience: Set = ["https://notes.example/mcp"]

extension TokenVerifier {
    /// Why a token is refused, or whom it is of.
    fileprivate func outcome(_ token: String, at seconds: Int = 500) async -> String {
        do throws(Denial) {
            return try await grant(of: token, for: audience, now: Instant(seconds: seconds)).principal
        } catch {
            switch error {
            case .invalid(let reason): return "invalid: \(reason)"
            case .unavailable(let reason): return "unavailable: \(reason)"
            }
        }
    }
}

@Suite struct TokenTests {
    @Test func `a token is good from nbf to exp, with half a minute for clocks that differ`() async throws {
        let signer = Signer()
        let verifier = try Published(await signer.keys()).verifier()
        let token = try signer.token(["nbf": 400])
        // Twice: what is remembered expires too.
        for _ in 0..<2 {
            #expect(await verifier.outcome(token, at: 369).hasPrefix("invalid"))
            #expect(await verifier.outcome(token, at: 370) == "oauth:issuer.example:ada")
            #expect(await verifier.outcome(token, at: 1029) == "oauth:issuer.example:ada")
            #expect(await verifier.outcome(token, at: 1030) == "invalid: The token has expired")
        }
    }

    @Test func `a remembered token is for its audience alone`() async throws {
        let signer = Signer()
        let verifier = try Published(await signer.keys()).verifier()
        let token = try signer.token()
        #expect(await verifier.outcome(token) == "oauth:issuer.example:ada")
        await #expect(throws: TokenVerifier.Denial.self) {
            _ = try await verifier.grant(of: token, for: ["https://other.example/mcp"], now: Instant(seconds: 500))
        }
    }

    @Test func `a key that the issuer withdrew does not open again, even for a token that was seen`() async throws {
        let (old, new) = (Signer("old"), Signer("new"))
        let published = Published(await old.keys())
        let verifier = try published.verifier()
        let token = try old.token()
        #expect(await verifier.outcome(token) == "oauth:issuer.example:ada")
        published.set(.success(await new.keys()))
        #expect(await verifier.outcome(try new.token()) == "oauth:issuer.example:ada")
        #expect(await verifier.outcome(token).contains("no such key"))
    }

    @Test func `keys are read once for many who ask at once, and seldom for those who invent keys`() async throws {
        let signer = Signer()
        let published = Published(await signer.keys())
        let verifier = try published.verifier()
        await withTaskGroup { group in
            for _ in 0..<100 { group.addTask { _ = await verifier.outcome((try? signer.token()) ?? "") } }
        }
        #expect(published.reads <= 4)
        for number in 0..<100 {
            let invented = try signer.token(header: ["kid": .string("invented-\(number)")])
            #expect(await verifier.outcome(invented).hasPrefix("invalid"))
        }
        #expect(published.reads <= 5)
    }

    @Test func `what cannot be good is refused without a look at the issuer`() async throws {
        let signer = Signer()
        let published = Published(await signer.keys())
        let verifier = try published.verifier()
        let tokens = [
            "", "a.b", "a.b.c", "....", String(repeating: "a", count: 20_000), try signer.token(["aud": "x"]),
            try signer.token(["exp": 1]), try signer.token(["iss": "x"]), try signer.token(header: ["alg": "none"]),
            try signer.token(header: ["alg": "HS256"]), try signer.token(["exp": "1000"]), try signer.token(["sub": 7]),
            try signer.token(header: ["typ": 7]),
        ]
        for token in tokens { #expect(await verifier.outcome(token).hasPrefix("invalid"), "\(token)") }
        #expect(published.reads == 0)
    }

    @Test func `while the issuer is away known keys are good and others are nobody's fault`() async throws {
        let signer = Signer()
        let published = Published(await signer.keys())
        let verifier = try published.verifier()
        #expect(await verifier.outcome(try signer.token()) == "oauth:issuer.example:ada")
        published.set(.failure(IssuerClient.Failure(description: "away")))
        #expect(await verifier.outcome(try signer.token(["sub": "bob"])) == "oauth:issuer.example:bob")
        #expect(await verifier.outcome(try Signer("new").token()).hasPrefix("unavailable"))
    }

    @Test func `keys that are old are read anew in the background, and are good for a day`() async throws {
        let published = Published(await Signer().keys())
        let store = KeyStore(read: { try published.read() }, report: { _ in })
        let start = ContinuousClock.now
        #expect(store.current(now: start) == nil)
        _ = await store.refresh(now: start)
        #expect(store.current(now: start + .seconds(599)) != nil && published.reads == 1)
        published.set(.failure(IssuerClient.Failure(description: "away")))
        #expect(store.current(now: start + .seconds(700)) != nil)
        while published.reads == 1 { await Task.yield() }
        #expect(store.current(now: start + .seconds(23 * 3600)) != nil)
        #expect(store.current(now: start + .seconds(25 * 3600)) == nil)
    }

    @Test func `an allowance is a few at once and then one at a time`() {
        var allowance = Allowance(burst: 2, interval: .seconds(10))
        let start = ContinuousClock.now
        let taken = [0, 0, 0, 9, 10, 11, 19, 20, 1000, 1000, 1000].map { allowance.take(start + .seconds($0)) }
        #expect(taken == [true, true, false, false, true, false, false, true, true, true, false])
    }

    @Test func `keys that are not for checking signatures are left out`() async throws {
        let signer = Signer()
        let odd: [JSON] = [
            7, [:], ["kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"],
            ["kty": "RSA", "n": "AQAB", "e": "AQAB"], ["kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"],
            ["kty": "OKP", "crv": "X25519", "x": "AAAA"],
        ]
        #expect(await signer.keys(odd).count == 1)
        for change: JSONObject in [["use": "enc"], ["key_ops": ["sign"]], ["alg": "ES384"], ["alg": "ECDH-ES"]] {
            var jwk = signer.jwk.objectValue ?? [:]
            for (name, value) in change.members { jwk[name] = value }
            #expect(await VerificationKeys(["keys": [.object(jwk)]]).count == 0, "\(change)")
        }
    }
}

@Suite struct IssuerTests {
    @Test(arguments: [
        (
            "https://a.example",
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        ),
        (
            "https://a.example/",
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        ),
        (
            "http://[::1]:8080/t/one/",
            [
                "http://[::1]:8080/.well-known/oauth-authorization-server/t/one",
                "http://[::1]:8080/t/one/.well-known/openid-configuration",
                "http://[::1]:8080/.well-known/openid-configuration/t/one",
            ]
        ),
    ])
    func `metadata is looked for where the standards put it`(identifier: String, addresses: [String]) throws {
        #expect(try Issuer(identifier).metadataAddresses == addresses)
    }

    @Test(arguments: [
        "http://a.example", "ftp://a.example", "a.example", "", "https://", "https://a.example?x",
        "https://a.example/#x", "http://localhost.evil.example", "http://127.0.0.1@evil.example",
        "https://user@a.example", "HTTP://a.example",
    ])
    func `an issuer that could be anybody is refused`(identifier: String) {
        #expect(throws: Issuer.Unusable.self) { try Issuer(identifier) }
    }
}

@Suite struct ScopeTests {
    private static let reading = Use.tool(tool("read_note", readOnly: true))
    private static let writing = Use.tool(tool("write_note", readOnly: false))

    private static func tool(_ name: String, readOnly: Bool) -> Tool {
        let catalog = LiveCatalog()
        catalog.publish([.tool(name, ["annotations": ["readOnlyHint": .bool(readOnly)]])])
        // It was just published.
        return catalog.current.tool(named: name).unsafelyUnwrapped
    }

    @Test func `mcp:read covers what reads and mcp:write everything`() {
        let policy = ScopePolicy.standard
        for (granted, may): (Set<String>, [Bool]) in [
            ([], [false, false, false, false]), (["openid"], [false, false, false, false]),
            (["mcp:read"], [true, false, true, true]), (["mcp:write"], [true, true, true, true]),
        ] {
            let uses = [Self.reading, Self.writing, .resources, .prompts]
            #expect(uses.map { policy.allows($0, with: granted) } == may, "\(granted)")
        }
    }

    @Test func `the first scope that covers a thing is asked for, beside those that were granted`() {
        let policy = ScopePolicy([
            "a": ["tools": ["read_*"]], "b": ["read_only": true, "resources": true], "c": ["tools": ["*"]],
        ])
        #expect(policy.names(wanted: Self.reading, besides: ["c", "openid"]) == ["a", "c"])
        #expect(policy.names(wanted: Self.writing, besides: ["b"]) == ["b", "c"])
        #expect(policy.scope(for: .prompts) == nil)
        let access = Caller.Access(granted: ["b"], policy: policy, metadata: "https://notes.example/m")
        let caller = Caller(principal: "x", access: access)
        #expect(caller.may(Self.reading) && caller.may(.resources))
        #expect(!caller.may(Self.writing) && !caller.may(.prompts))
        let error = #expect(throws: RPCError.self) { try caller.demand(Self.writing) }
        #expect(error?.status(isModern: false) == 403 && error?.status(isModern: true) == 403)
        #expect(
            error?.challenge?.header == """
                Bearer error="insufficient_scope", error_description="The tool write_note needs the scope c, which \
                the token does not have.", scope="b c", resource_metadata="https://notes.example/m"
                """)
    }

    @Test(arguments: [
        ("a", "a", true), ("a", "ab", false), ("*", "", true), ("*", "anything", true), ("a*", "abc", true),
        ("a*", "ba", false), ("*c", "abc", true), ("a*c", "abbc", true), ("a*c", "ac", true), ("a*a", "a", false),
        ("a*b*c", "axbxbc", true),
        ("a*b*c", "acb", false), ("**", "x", true), ("", "", true), ("", "x", false), ("*note*", "read_notes", true),
    ])
    func `a star stands for any characters`(pattern: String, name: String, fits: Bool) {
        #expect(NamePattern(pattern).matches(name) == fits)
    }

    @Test func `nothing breaks out of the quotes of a challenge`() {
        let challenge = Challenge(scopes: ["a"], error: "e", description: "a\"b\\c\r\nX: y\u{7F}é")
        #expect(challenge.header == #"Bearer error="e", error_description="abcX: y", scope="a""#)
        #expect(Challenge().header == "Bearer")
    }

    @Test(arguments: [
        ("Bearer t", "t"), ("bearer t", "t"), ("BEARER   t ", "t"), ("Bearer ", nil), ("Bearer", nil), ("Basic t", nil),
        ("Bearert", nil), ("", nil), ("Bearer a b", "a b"),
    ])
    func `the scheme of an authorization is Bearer in any case`(field: String, token: String?) {
        #expect(HTTPAccess.bearer(field).map(String.init) == token)
    }
}
