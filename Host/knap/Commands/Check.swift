import ArgumentParser
import Glibc
import KnapChecking
import KnapHost
import KnapJSON

/// `knap check`.
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Test whether a plugin keeps to the rules: the conformance kit.",
        discussion: """
            Every test runs in a process of its own with a time limit, under a host that watches what the plugin does. Inputs \
            are made from the plugin's own JSON Schemas; the seed that is printed makes the same ones again. Exits with 65 \
            when a test failed or crashed. Needs no running host.
            """)
    @Argument(help: "NAME.so, or a folder NAME.knap.", completion: .file(extensions: ["so", "knap"])) var file: String
    @Option(help: ArgumentHelp("Run only this test; may be repeated.", valueName: "test")) var only: [String] = []
    @Option(help: ArgumentHelp("Makes the inputs of an earlier run again.", valueName: "number")) var seed: UInt32?
    @Flag(help: "Print JSON: results on stdout, errors on stderr.") var json = false

    func run() throws {
        let isClean = try reporting(json) {
            let library = try InspectedLibrary(file)
            guard let checker = Installation(program: Banner.program).checker else {
                throw CommandFailure(ExitStatus.configuration, "NOT_FOUND", "knap-checker is not beside knap; install Knap again")
            }
            let directory = try temporaryDirectory()
            defer { FileTree.remove(directory) }
            let kit = ConformanceKit(
                library, checker: checker, directory: directory, seed: seed ?? UInt32.random(in: 1 ... .max))
            return try run(kit, try chosen(kit.tests()))
        }
        if !isClean { throw ExitCode(ExitStatus.data) }
    }

    private func chosen(_ tests: [(name: String, sentence: String)]) throws -> [(name: String, sentence: String)] {
        if let unknown = only.first(where: { name in !tests.contains { $0.name == name } }) {
            throw CommandFailure(
                ExitStatus.usage, "NOT_FOUND", "there is no test '\(unknown)'; there are: \(tests.map(\.name).joined(separator: ", "))")
        }
        return only.isEmpty ? tests : tests.filter { only.contains($0.name) }
    }

    /// Prints each result as it comes; whether none is bad.
    private func run(_ kit: ConformanceKit, _ tests: [(name: String, sentence: String)]) throws -> Bool {
        var results: [CheckResult] = []
        for (name, sentence) in tests {
            let result = try kit.run(name, sentence)
            results.append(result)
            if !json { Output.print(Self.text(result)) }
        }
        let counts = CheckResult.Outcome.allCases.map { outcome in (outcome.rawValue, results.count { $0.outcome == outcome }) }
        if json {
            var summary: JSONObject = [
                "file": .string(kit.library.path), "name": .string(kit.library.manifest.name),
                "version": .string("\(kit.library.manifest.version)"), "seed": .number(JSONNumber(Int(kit.seed))),
            ]
            for (name, count) in counts { summary[name] = .number(JSONNumber(count)) }
            summary["tests"] = .array(results.map(\.json))
            Output.print(JSON.object(summary).serialized())
        } else {
            let text = counts.filter { $0.1 > 0 }.map { "\($0.1) \($0.0)" }.joined(separator: ", ")
            Output.print("\(text) (seed \(kit.seed))")
        }
        return !results.contains { $0.outcome == .failed || $0.outcome == .crashed }
    }

    private static func text(_ result: CheckResult) -> String {
        let name = result.name + String(repeating: " ", count: max(0, 18 - result.name.count))
        let outcome = result.outcome.rawValue + String(repeating: " ", count: max(0, 8 - result.outcome.rawValue.count))
        let messages = result.messages.flatMap { $0.split(separator: "\n") }.map { "\n      \($0)" }.joined()
        return "\(outcome) \(name) \(result.sentence)\(messages)"
    }

    private func temporaryDirectory() throws -> String {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/knap-check-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw FileTree.failure(parent) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
