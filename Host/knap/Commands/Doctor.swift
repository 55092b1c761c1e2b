import ArgumentParser
import KnapHost
import KnapJSON

/// `knap doctor`.
struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What is wrong, and what to do about it.", discussion: "Exits with 78 when it found a problem.")
    @OptionGroup var host: HostOptions

    func run() throws {
        let diagnosis = try host.call("host.doctor")
        host.show(diagnosis) { diagnosis in
            let problems = diagnosis["problems"]?.arrayValue ?? []
            if problems.isEmpty { return "All is well." }
            return problems.map { problem in
                "\(problem["subject"]?.stringValue ?? "?"): \(problem["problem"]?.stringValue ?? problem.serialized())"
            }.joined(separator: "\n")
        }
        if diagnosis["healthy"]?.boolValue == false { throw ExitCode(ExitStatus.configuration) }
    }
}
