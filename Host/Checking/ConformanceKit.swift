import Glibc
import KnapHost
import KnapJSON

/// The tests of `knap check`: of the file, and of the plugin running under a host that watches it, each test in a process
/// of its own.
package struct ConformanceKit {
    package let library: InspectedLibrary
    package let seed: UInt32
    private let checker: CheckerProcess
    private let directory: String

    /// How long one test may take.
    private static let limit = Duration.seconds(60)
    private static let inputs = 12

    /// - Parameters:
    ///   - checker: The program `knap-checker`.
    ///   - directory: An empty one, for what the plugin writes.
    package init(_ library: InspectedLibrary, checker: String, directory: String, seed: UInt32) {
        self.library = library
        self.seed = seed
        self.checker = CheckerProcess(program: checker)
        self.directory = directory
    }

    /// The names of all tests with what they say.
    package func tests() throws -> [(name: String, sentence: String)] {
        let ended = try checker.run(["--list"], limit: Self.limit)
        let running = ended.printed.split(separator: "\n").compactMap { line -> (String, String)? in
            let parts = line.split(separator: "\t", maxSplits: 1).map(String.init)
            return parts.count == 2 ? (parts[0], parts[1]) : nil
        }
        guard !running.isEmpty else { throw CheckError("'\(checker.program)' names no tests; install Knap again") }
        return FileChecks.all.map { ($0.name, $0.sentence) } + running
    }

    package func run(_ name: String, _ sentence: String) throws -> CheckResult {
        if let check = FileChecks.all.first(where: { $0.name == name }) {
            let (faults, warnings) = check.run(library)
            return CheckResult(
                name: name, sentence: sentence, outcome: !faults.isEmpty ? .failed : !warnings.isEmpty ? .warning : .passed,
                messages: faults + warnings)
        }
        let subject = "\(directory)/subject.json"
        let state = "\(directory)/\(name)"
        mkdir(state, 0o700)
        try write(try description(state: state), to: subject)
        let ended = try checker.run([name, subject], limit: Self.limit)
        return judged(name, sentence, ended)
    }

    private func judged(_ name: String, _ sentence: String, _ ended: CheckerProcess.Ended) -> CheckResult {
        func said(_ kind: String) -> [String] { ended.reports.compactMap { $0[kind]?.stringValue } }
        let faults = said("fault") + wrongAnswers(ended.reports)
        let hasEnded = ended.reports.contains { $0["end"] != nil }
        let printed = ended.printed.isEmpty ? [] : ["it printed: \(ended.printed)"]
        func result(_ outcome: CheckResult.Outcome, _ messages: [String]) -> CheckResult {
            CheckResult(name: name, sentence: sentence, outcome: outcome, messages: messages)
        }
        guard let status = ended.status else {
            return result(.failed, faults + ["it did not end within \(Self.limit.components.seconds) s"] + printed)
        }
        guard hasEnded, status == 0 else {
            let end = status < 0 ? "the process ended by signal \(-status) (\(String(cString: strsignal(-status))))" : "the process ended itself with status \(status)"
            return result(.crashed, faults + [end] + printed)
        }
        if !faults.isEmpty { return result(.failed, faults + said("warning")) }
        if let reason = said("skip").first { return result(.skipped, [reason]) }
        return result(said("warning").isEmpty ? .passed : .warning, said("warning"))
    }

    /// What methods answered and their output schemas forbid.
    private func wrongAnswers(_ reports: [JSON]) -> [String] {
        var faults: [String] = []
        for report in reports where report["status"]?.intValue == 0 {
            guard let answer = report["answer"]?.stringValue, let name = report["method"]?.stringValue,
                let document = methods.first(where: { $0.name == name })?.method.output, let schema = try? Schema.compile(document)
            else { continue }
            let input = report["input"]?.stringValue?.prefix(200) ?? ""
            guard let value = try? JSON.parse(Array(answer.utf8)) else {
                faults.append("\(name) answered what is no JSON to \(input): \(answer.prefix(200))")
                continue
            }
            if let violation = schema.validate(value).first {
                faults.append("\(name) answered to \(input) what its output schema forbids: \(violation.message)")
            }
        }
        return Array(faults.prefix(5))
    }

    private var methods: [(name: String, method: Method)] {
        library.manifest.provides.flatMap { service in service.methods.map { ("\(service.service).\($0.name)", $0) } }
    }

    /// What `knap-checker` is told of the plugin.
    private func description(state: String) throws -> JSON {
        let manifest = library.manifest
        let methods = try methods.map { name, method -> JSON in
            let (valid, invalid) = try inputs(of: method, name)
            let deadline = min(method.deadline ?? .seconds(10), .seconds(10))
            return [
                "name": .string(name), "blocks": .bool(method.isBlocking),
                "deadline_ms": .number(JSONNumber(deadline.components.seconds * 1_000 + deadline.components.attoseconds / 1_000_000_000_000_000)),
                "valid": .array(valid.map { .string($0.serialized()) }), "invalid": .array(invalid.map { .string($0.serialized()) }),
            ]
        }
        return [
            "library": .string(library.path), "name": .string(manifest.name), "version": .string("\(manifest.version)"),
            "configuration": .string(JSON.object(manifest.configuration.defaults).serialized()), "directory": .string(state),
            "has_state": .bool(manifest.extensions.contains("knap.state/1")),
            "requires_services": .bool(!manifest.requires.isEmpty || !manifest.optional.isEmpty),
            "seed": .number(JSONNumber(Int(seed))), "methods": .array(methods),
        ]
    }

    private func inputs(of method: Method, _ name: String) throws -> (valid: [JSON], invalid: [JSON]) {
        guard let document = method.input else { return ([[:]], []) }
        var generator: InputGenerator
        // A schema that is none is told by the test of the schemas.
        do throws(SchemaError) { generator = try InputGenerator(document, seed: UInt64(seed) ^ UInt64(name.utf8.count) << 32) } catch {
            return ([], [])
        }
        return (generator.valid(Self.inputs), generator.invalid(Self.inputs))
    }

    private func write(_ json: JSON, to path: String) throws {
        let bytes = Array(json.serialized().utf8)
        guard let file = fopen(path, "we") else { throw CheckError("'\(path)' cannot be written: \(String(cString: strerror(errno)))") }
        let written = fwrite(bytes, 1, bytes.count, file)
        guard fclose(file) == 0, written == bytes.count else {
            throw CheckError("'\(path)' cannot be written: \(String(cString: strerror(errno)))")
        }
    }
}
