import KnapJSON
import Testing

@testable import KnapHost

@Suite("The policy on signatures")
struct PolicyTests {
    private static let keys = (0..<3).map { index in
        // Any 32 bytes will do where nothing is verified.
        TrustedKey(name: ["alice", "bob", "carol"][index], key: PublicKey(bytes: [UInt8](repeating: UInt8(index), count: 32))!)
    }

    /// Carol is not trusted.
    private func trust(pinned: [Int]? = nil) -> Trust {
        var trust = Trust(keys: Array(Self.keys.prefix(2)))
        trust.pins["p"] = pinned.map { Set($0.map { Self.keys[$0].key.fingerprint }) }
        return trust
    }

    private static let matrix: [(SignaturePolicy, signers: [Int], pinned: [Int]?, refusal: String?)] = [
        (.any, [], nil, nil), (.any, [2], nil, nil), (.any, [0], [1], nil),
        (.signed, [], nil, "it is not signed"), (.signed, [2], nil, "not trusted here"), (.signed, [0], nil, nil),
        (.signed, [2, 0], nil, nil), (.signed, [0], [1], nil),
        (.pinned, [], nil, "it is not signed"), (.pinned, [], [0], "it is not signed"), (.pinned, [2], [2], "not trusted here"),
        (.pinned, [0], nil, nil), (.pinned, [0], [0], nil),
        (.pinned, [1], [0], "'knap plugins trust unpin p' lets another signer take over"),
        (.pinned, [0, 1], [0], nil), (.pinned, [1], [0, 1], nil),
        // A key that is trusted no longer vouches for nobody.
        (.pinned, [1, 2], [2], "trust unpin"), (.pinned, [0, 2], [2], "trust unpin"),
    ]

    @Test("lets run what it says and nothing else", arguments: matrix.indices)
    func verdicts(index: Int) {
        let (policy, signers, pinned, refusal) = Self.matrix[index]
        let verdict = policy.verdict(on: "p", signers: signers.map { Self.keys[$0].key }, trust(pinned: pinned))
        #expect(verdict.trusted.map(\.name) == Self.keys.indices.filter { $0 < 2 && signers.contains($0) }.map { Self.keys[$0].name })
        if let refusal {
            #expect(verdict.refusal?.contains(refusal) == true, "\(verdict)")
        } else {
            #expect(verdict.refusal == nil)
        }
    }

    @Test("is kept across restarts with the keys and pins, and a damaged file is an error and not nobody")
    func stored() throws {
        let scratch = try Scratch()
        let store = try TrustStore(directory: scratch.path)
        #expect(store.current == Trust())
        let wanted = trust(pinned: [0, 1])
        try store.change { $0 = wanted }
        #expect(try TrustStore(directory: scratch.path).current == wanted)
        for text in ["", "{", "[]", "{}", #"{"keys":[{"name":"x","key":"00"}],"pins":{}}"#, #"{"keys":[],"pins":{"p":["x"]}}"#] {
            try scratch.write(text, to: "trust.json")
            #expect(throws: ConfigurationError.self, "\(text)") { try TrustStore(directory: scratch.path) }
        }
    }

    private static func manifest(asking hosts: [String]) throws -> Manifest {
        var manifest = Manifest(name: "p", version: try Version("1.0.0"))
        manifest.permissions.connect = hosts
        return manifest
    }

    @Test("carries a grant over to the next version of the same signers, and to nobody else's")
    func grants() throws {
        let scratch = try Scratch()
        let store = try GrantStore(directory: scratch.path)
        let fingerprints = Self.keys.map(\.key.fingerprint)
        let (old, more) = (try Self.manifest(asking: ["a:1"]), try Self.manifest(asking: ["a:1", "b:2"]))
        #expect(store.missing(old, identity: "1", signers: [fingerprints[0]]) == ["connect to a:1"])
        try store.grant(old, identity: "1", signers: [fingerprints[0]])
        let cases: [(Manifest, String, Set<Digest>, [String])] = [
            (old, "1", [fingerprints[0]], []), (old, "1", [], []), (old, "2", [fingerprints[0]], []),
            (old, "2", [fingerprints[1]], ["connect to a:1"]), (old, "2", [], ["connect to a:1"]),
            (old, "2", [fingerprints[1], fingerprints[0]], []), (more, "2", [fingerprints[0]], ["connect to b:2"]),
        ]
        for reopened in [store, try GrantStore(directory: scratch.path)] {
            for (manifest, identity, signers, missing) in cases {
                #expect(reopened.missing(manifest, identity: identity, signers: signers) == missing)
            }
        }
        // The next version is signed by two, the one after that by the new one alone.
        try store.handOn("p", identity: "2", to: [fingerprints[0], fingerprints[1]])
        #expect(store.missing(old, identity: "3", signers: [fingerprints[1]]) == [])
        try store.handOn("p", identity: "3", to: [fingerprints[1]])
        #expect(store.missing(old, identity: "4", signers: [fingerprints[0]]) == ["connect to a:1"])
        // What somebody else's version runs by is not theirs to hand on.
        try store.handOn("p", identity: "5", to: [fingerprints[2]])
        #expect(store.missing(old, identity: "6", signers: [fingerprints[2]]) == ["connect to a:1"])
    }

    @Test("grants by content as before where nothing is signed")
    func unsigned() throws {
        let scratch = try Scratch()
        try scratch.write(#"{"p": {"identity": "1", "permissions": ["connect to a:1"]}}"#, to: "grants.json")
        let store = try GrantStore(directory: scratch.path)
        let manifest = try Self.manifest(asking: ["a:1"])
        #expect(store.missing(manifest, identity: "1", signers: []) == [])
        #expect(store.missing(manifest, identity: "2", signers: []) == ["connect to a:1"])
        // It is signed later: from then on the signer's next version has what this one has.
        let signer = Self.keys[0].key.fingerprint
        try store.handOn("p", identity: "1", to: [signer])
        #expect(store.missing(manifest, identity: "2", signers: [signer]) == [])
    }
}

@Suite("A plan under a policy on signatures")
struct SignaturePlanTests {
    @Test("leaves out what is refused, and what runs goes on")
    func upgrade() throws {
        let old = try plugin("p", "1.0.0")
        let new = try plugin("p", "2.0.0") { $0.refusal = "it is not signed" }
        let plan = Planner.plan(PlanInput([new], running: [old]))
        #expect(plan.isEmpty && plan.kept == ["p"])
        #expect(plan.omission("p")?.code == .signatureRefused && plan.omission("p")?.stillRunning == old.manifest.version)
        #expect(Planner.plan(PlanInput([new])).omission("p")?.message == "it is not signed")
    }

    @Test("stops what runs and may no longer, whether the file is the same, another or refused too")
    func revoked() throws {
        let old = try plugin("p", "1.0.0") { $0.refusal = "no longer" }
        let waiting = try plugin("p", "2.0.0") { $0.missingGrants = ["x"] }
        let good = try plugin("p", "2.0.0")
        for candidate in [old, waiting] {
            var input = PlanInput([candidate], running: [old])
            input.running[0].refusal = "no longer"
            let plan = Planner.plan(input)
            #expect(plan.stopNames == [["p"]] && plan.starts.isEmpty)
            guard case .stop("no longer") = plan.stops.first?.first?.action else {
                Issue.record("\(plan.stops)")
                return
            }
        }
        var input = PlanInput([good], running: [old])
        input.running[0].refusal = "no longer"
        let plan = Planner.plan(input)
        #expect(plan.startNames == [["p"]] && plan.stops.isEmpty && plan.omissions.isEmpty)
    }

    @Test("does not stop what runs by its signature when the same content comes without it")
    func unsignedCopy() throws {
        let running = try plugin("p")
        let copy = try plugin("p") { $0.refusal = "it is not signed" }
        let plan = Planner.plan(PlanInput([copy], running: [running]))
        #expect(plan.isEmpty && plan.kept == ["p"] && plan.omission("p")?.code == .signatureRefused)
    }
}
