import Testing

@testable import KnapHost

/// What follows from a crash of the host, by what was known before it.
@Suite struct CrashPolicyTests {
    private static func crash(
        _ plugin: String, _ digest: String = "one", minutes: Int64 = 100, isGuess: Bool = false
    ) -> CrashLog.Entry {
        CrashLog.Entry(timeMS: minutes * 60_000, plugin: plugin, digest: digest, summary: "SIGSEGV", isGuess: isGuess)
    }

    static let cases: [(String, CrashLog.Entry, [CrashLog.Entry], Bool, CrashPolicy.Verdict)] = [
        ("nobody can be named", crash("", ""), [], false, .safeMode),
        ("one from elsewhere", crash("foo"), [], false, .confine),
        ("one of ours, the first time", crash("vault"), [], true, .tolerate),
        ("one of ours, the second time", crash("vault"), [crash("vault", minutes: 95)], true, .tolerate),
        ("one of ours, the third time", crash("vault"), [crash("vault", minutes: 91), crash("vault", minutes: 95)], true, .confine),
        ("long after", crash("vault"), [crash("vault", minutes: 80), crash("vault", minutes: 89)], true, .tolerate),
        ("other bytes", crash("vault"), [crash("vault", "two", minutes: 98), crash("vault", "two", minutes: 99)], true, .tolerate),
        ("without a trace", crash("foo", isGuess: true), [], false, .tolerate),
        ("without a trace again", crash("foo", isGuess: true), [crash("foo", minutes: 99, isGuess: true)], false, .confine),
        ("without a trace, ours", crash("vault", isGuess: true), [crash("vault", minutes: 99, isGuess: true)], true, .tolerate),
    ]

    @Test(arguments: cases) func verdict(
        _ name: String, _ crash: CrashLog.Entry, _ earlier: [CrashLog.Entry], _ isFirstParty: Bool, _ expected: CrashPolicy.Verdict
    ) {
        #expect(CrashPolicy.verdict(on: crash, after: earlier, isFirstParty: isFirstParty) == expected, "\(name)")
    }

    @Test func theLogKeepsWhatItWasTold() throws {
        let scratch = try Scratch()
        let entry = Self.crash("foo")
        #expect(CrashLog(directory: scratch.path).add([entry]))
        #expect(CrashLog(directory: scratch.path).all == [entry])
        #expect(CrashLog(directory: scratch.path).last(of: "foo") == entry)
        #expect(CrashLog(directory: scratch.path).last(of: "bar") == nil)
        // A file that cannot be read is as good as none.
        try scratch.write("nonsense", to: "crashes.json")
        #expect(CrashLog(directory: scratch.path).all.isEmpty)
    }
}
