import ArgumentParser
import Glibc
import KnapControl
import KnapHost
import KnapJSON

/// Which host a command talks to, and how it prints.
struct HostOptions: ParsableArguments {
    @Option(help: ArgumentHelp("State directory of the host; default: the only running one.", valueName: "dir"))
    var state: String?

    @Flag(help: "Print JSON: results on stdout, errors on stderr.")
    var json = false

    /// Makes one call; what fails is thrown in the form that was asked for.
    func call(
        _ method: String, _ input: JSON = .object([:]), deadlineMS: Int? = nil, onItem: (ControlItem) -> Void = { _ in }
    ) throws -> JSON {
        do {
            let socket = try RunningHosts.controlSocket(state: state)
            var client = try ControlClient(path: socket)
            switch try client.call(method, input: input, deadlineMS: deadlineMS, onItem: onItem) {
            case .result(let result, _): return result
            case .failure(let failure): throw CommandFailure(failure)
            }
        } catch var failure as CommandFailure {
            failure.asJSON = json
            throw failure
        } catch let error as ControlError {
            var failure = CommandFailure(error)
            failure.asJSON = json
            throw failure
        }
    }

    func show(_ result: JSON, _ human: (JSON) -> String = Render.text) {
        Output.result(result, asJSON: json, human: human)
    }
}

/// The hosts that run for this user with a default state directory.
enum RunningHosts {
    /// Where to reach the host that is meant.
    static func controlSocket(state: String?) throws(CommandFailure) -> String {
        let named = state ?? getenv("KNAP_STATE").map { String(cString: $0) }
        if let named {
            guard let directory = StateDirectory(existing: named) else {
                throw CommandFailure(
                    ExitStatus.unavailable, "NOT_RUNNING", "there is no state directory \(named), so no host runs on it")
            }
            return directory.controlSocket
        }
        let running = all()
        if let only = running.first, running.count == 1 { return only.controlSocket }
        guard running.isEmpty else {
            let list = running.map { "  --state \($0.path)" }.joined(separator: "\n")
            throw CommandFailure(ExitStatus.usage, "AMBIGUOUS", "several hosts run; say which:\n\(list)")
        }
        throw CommandFailure(
            ExitStatus.unavailable, "NOT_RUNNING", "no host runs: start one with `knap serve --vault DIR`")
    }

    /// Those whose lock is held: a socket may be left over.
    static func all() -> [StateDirectory] {
        let parent = StatePath().parent
        guard let entries = opendir(parent) else { return [] }
        defer { closedir(entries) }
        var found: [StateDirectory] = []
        while let entry = readdir(entries) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard !name.hasPrefix("."), let directory = StateDirectory(existing: "\(parent)/\(name)"),
                StateLock.holder(of: directory) != nil
            else { continue }
            found.append(directory)
        }
        return found.sorted { $0.path < $1.path }
    }
}
