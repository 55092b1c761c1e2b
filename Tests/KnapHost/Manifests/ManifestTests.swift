import KnapJSON
import Testing

@testable import KnapHost

@Suite("A manifest")
struct ManifestTests {
    private func read(_ text: String) throws(ManifestError) -> Manifest {
        try Manifest(Array(text.utf8), file: "plugin.json")
    }

    @Test("needs four fields and has sensible values for the others")
    func minimal() throws {
        #expect(try read(ManifestExamples.minimal) == Manifest(name: "a", version: Version(1, 0, 0)))
    }

    @Test("is read with every field that there is")
    func full() throws {
        let manifest = try read(ManifestExamples.full)
        #expect(manifest.name == "org.example.notes")
        #expect(try manifest.version == Version("1.2.3-rc.1"))
        #expect(manifest.license == "Apache-2.0")
        #expect(manifest.authors == ["A <a@example.org>", "B"])
        #expect(manifest.requires.map(\.description) == ["vault ^1.2"])
        #expect(manifest.optional.map(\.description) == ["events >=1 <3 || 4.x"])
        #expect(manifest.conflicts == ["org.example.other"])
        #expect(manifest.provides("org.example.notes")?.isFallback == true)
        let method = try #require(manifest.provides("org.example.notes")?.method("search_notes"))
        #expect(method.input == ["type": "object"])
        #expect(method.inputContentType == "application/cbor")
        #expect(method.outputContentType == "application/vnd.knap.mcp-result+json")
        #expect(!method.isBlocking && method.isIdempotent && !method.isMutating)
        #expect(method.streams == .output && method.deadline == nil && method.retries == 3 && method.concurrency == 4)
        #expect(manifest.points.map(\.name) == ["pages"])
        #expect(manifest.contributes.map(\.point) == ["mcp", "org.example.menu"])
        #expect(manifest.contributes.last?.items == [1, "two", .null])
        #expect(manifest.hooks.suspend == .milliseconds(3))
        #expect(manifest.health == HealthCheck(period: .seconds(1), failures: 2))
        #expect(manifest.restart.kind == .transient && manifest.restart.scope == .dependants)
        #expect(manifest.pool.minimum == 2 && manifest.pool.maximum == 4 && manifest.pool.concurrency == 8)
        #expect(manifest.pool.growAfter == .milliseconds(50) && manifest.pool.shrinkAfter == .milliseconds(500))
        #expect(manifest.isolations == [.worker])
        #expect(manifest.reload == .overlap)
        #expect(manifest.drainTimeout == .milliseconds(5))
        #expect(manifest.probation == .milliseconds(6))
        #expect(manifest.permissions.readPaths == ["/etc/hosts", "config:folder"])
        #expect(manifest.permissions.writePaths == ["~/notes"])
        #expect(manifest.permissions.connect == ["*.example.org:443", "[::1]:*"])
        #expect(manifest.permissions.listen == [0])
        #expect(manifest.permissions.services == ["vault", "events.append"])
        #expect(
            manifest.permissions.assertsPrincipal && manifest.permissions.observes && manifest.permissions.intercepts)
        #expect(manifest.limits.memoryBytes == 2_097_152 && manifest.limits.inFlight == 8 && manifest.limits.queue == 0)
        #expect(manifest.limits.breaker == Breaker(failures: 5, period: .seconds(1), open: .milliseconds(500)))
        #expect(manifest.configuration.defaults["folder"] == "/srv/notes")
        #expect(manifest.extensions == ["knap.drain/1", "knap.health/1"])
        #expect(manifest.toolchain == Toolchain(language: "rust", compilerVersion: "1.80.0"))
        #expect(manifest.stateSchema == 7)
    }

    @Test("is accepted when a field is right", arguments: ManifestExamples.good)
    func good(field: String) throws {
        do throws(ManifestError) { _ = try read(ManifestExamples.minimal(with: field)) } catch {
            Issue.record("\(field): \(error)")
        }
    }

    @Test("is refused with place and advice when a field is wrong", arguments: ManifestExamples.bad)
    func bad(example: ManifestExamples.Bad) throws {
        let error = #expect(throws: ManifestError.self) { try read(example.text) }
        let problem = try #require(error?.problems.first)
        #expect(error?.problems.count == 1, "\(error?.description ?? "")")
        #expect(problem.code == example.code)
        #expect(problem.pointer.description == example.pointer)
        #expect(problem.message.contains(example.says), "\(problem.message)")
        #expect(problem.position != nil)
    }

    @Test("names file, line, column and pointer of a problem")
    func position() throws {
        let text = """
            {
              "manifest": 1, "name": "a", "version": "1.0.0", "abi": "draft",
              "limits": {
                "in_flight": "many"
              }
            }
            """
        let error = #expect(throws: ManifestError.self) { try read(text) }
        #expect(
            error?.description
                == "plugin.json:4:18: /limits/in_flight: expected an integer, found the string 'many'")
    }

    @Test("shows all problems at once")
    func allProblems() throws {
        let error = #expect(throws: ManifestError.self) {
            try read(#"{"manifest": 1, "name": "A", "version": "1", "abi": "draft", "x": 1, "pool": {"min": 0}}"#)
        }
        #expect(error?.problems.map(\.pointer.description) == ["/name", "/version", "/pool/min", "/x"])
    }

    @Test(
        "is refused when it is no JSON, no object, or has a name twice",
        arguments: ["", "{", "[]", "3", #"{"name": 1, "name": 1}"#])
    func notAnObject(text: String) throws {
        #expect(throws: ManifestError.self) { try read(text) }
    }

    @Test("misses each of its four fields")
    func missing() throws {
        let error = #expect(throws: ManifestError.self) { try read("{}") }
        #expect(
            error?.problems.map(\.message)
                == ["manifest", "name", "version", "abi"].map { "the field '\($0)' is missing" })
    }
}

@Suite("A restart policy")
struct RestartPolicyTests {
    @Test("restarts at once, then waits twice as long each time, up to the maximum")
    func delays() {
        var policy = RestartPolicy()
        policy.backoffInitial = .milliseconds(100)
        policy.backoffMaximum = .milliseconds(500)
        #expect((1...6).map { policy.delay(beforeRestart: $0).inMilliseconds } == [0, 100, 200, 400, 500, 500])
        #expect(policy.delay(beforeRestart: 1_000_000) == .milliseconds(500))
        policy.maximumRestarts = 5
        #expect(policy.fastestGiveUp == .milliseconds(1200))
    }

    @Test("can always trip with its defaults")
    func defaults() {
        #expect(RestartPolicy().fastestGiveUp < RestartPolicy().period)
    }
}

@Suite("The nearest match")
struct NearestMatchTests {
    @Test(
        "is a word that one slip of the fingers makes of another",
        arguments: [
            ("deadline", "deadline_ms", true), ("naem", "name", true), ("abi", "name", false), ("x", "requires", false),
            ("requries", "requires", true), ("provide", "provides", true), ("", "a", true),
        ])
    func find(word: String, candidate: String, isMatch: Bool) {
        #expect((NearestMatch.find(word, among: [candidate]) != nil) == isMatch)
    }
}
