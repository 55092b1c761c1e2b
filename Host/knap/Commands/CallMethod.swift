import ArgumentParser
import Glibc
import KnapControl
import KnapJSON

/// `knap call`.
struct CallMethod: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "call",
        abstract: "Call a method of a plugin or of the host.",
        discussion: """
            Items that the call delivers are printed as they come, each on a line; progress and logs go to stderr; the \
            answer comes last.

            EXAMPLES
              knap call host.services                       every method, with its input and output
              knap call vault.read_note '{"path":"Tea.md"}'
              knap call vault.write_note - < note.json      input from stdin
            """)

    @Argument(
        help: ArgumentHelp("For instance vault.search_notes.", valueName: "service.method"), completion: Completing.methods)
    var method: String
    @Argument(help: ArgumentHelp("The input; '-' reads it from stdin; default: {}.", valueName: "json"))
    var input: String = "{}"
    @Option(help: ArgumentHelp("Give up after this many milliseconds.", valueName: "ms"))
    var deadline: Int?
    @OptionGroup var host: HostOptions

    func validate() throws {
        guard method.contains(".") else {
            throw ValidationError("'\(method)' is not SERVICE.METHOD, for instance vault.search_notes.")
        }
        if let deadline, deadline <= 0 { throw ValidationError("--deadline must be a positive number of milliseconds.") }
    }

    func run() throws { try run { $0.isNull ? "" : $0.stringValue ?? $0.serialized(.pretty) } }

    /// Makes the call and shows its answer, to people in this way.
    func run(showing human: (JSON) -> String) throws {
        let text = input == "-" ? StandardInput.all() : input
        let value: JSON
        do throws(JSONParseError) {
            value = try JSON.parse(text)
        } catch {
            var failure = CommandFailure(
                ExitStatus.usage, "INVALID_JSON",
                "the input is not JSON: \(error.message) (line \(error.position.line), column \(error.position.column))")
            failure.asJSON = host.json
            throw failure
        }
        let result = try host.call(method, value, deadlineMS: deadline) { item in
            switch item.kind {
            case .data: Output.print(item.value.serialized())
            case .progress, .log: Output.note(item.value.stringValue ?? item.value.serialized())
            }
        }
        host.show(result, human)
    }
}

enum StandardInput {
    /// All that comes until the end.
    static func all() -> String {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(STDIN_FILENO, &chunk, chunk.count)
            if count > 0 { bytes += chunk[..<count] } else if count == 0 || errno != EINTR { break }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
