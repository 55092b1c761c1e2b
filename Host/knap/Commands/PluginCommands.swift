import Glibc
import KnapControl
import KnapJSON

/// Sub-commands that plugins contribute to the point `cli` of the running host.
///
/// `knap [GROUP] NAME POSITIONAL... [--PROPERTY VALUE]...` calls the method that the contribution names, with an input
/// made of the arguments.
enum PluginCommands {
    /// Runs a contributed command; nil when the running host has none of this name, so that the usual error follows.
    static func run(_ arguments: [String]) -> Int32? {
        guard let invocation = Invocation(arguments) else { return nil }
        do {
            guard let commands = try? all(state: invocation.state) else { return nil }
            guard let (command, rest) = find(invocation.words, in: commands) else {
                return explain(group: invocation.words, commands, asked: invocation.wantsHelp)
            }
            if invocation.wantsHelp {
                Output.print(command.usage)
                return ExitStatus.ok
            }
            let input = try command.input(words: rest, options: invocation.options)
            // Options are made by parsing, never by hand.
            try CallMethod.parse([command.method, input.serialized()] + invocation.hostArguments).run(showing: command.view)
            return ExitStatus.ok
        } catch let failure as CommandFailure {
            failure.report()
            return failure.exitStatus
        } catch {
            Output.note("knap: \(error)")
            return ExitStatus.software
        }
    }

    /// The section of `knap --help`; empty when no host runs or several do.
    static func help() -> String {
        guard let commands = try? all(state: nil), !commands.isEmpty else { return "" }
        return "\n\nPLUGIN COMMANDS:\n" + list(commands)
    }

    /// For the name of a group without a command of it: what there is. Nil when there is no such group.
    private static func explain(group words: [String], _ commands: [PluginCommand], asked: Bool) -> Int32? {
        let group = commands.filter { !words.isEmpty && $0.path.starts(with: words.prefix(1)) }
        guard let name = words.first, !group.isEmpty else { return nil }
        let text = "USAGE: knap \(name) <command>\n\nCOMMANDS:\n\(list(group))\n\n  'knap \(name) <command> --help' says more."
        if asked, words.count == 1 {
            Output.print(text)
            return ExitStatus.ok
        }
        Output.note(words.count == 1 ? text : "knap: there is no command '\(words.joined(separator: " "))'\n\n\(text)")
        return ExitStatus.usage
    }

    private static func list(_ commands: [PluginCommand]) -> String {
        let width = commands.map(\.title.count).max() ?? 0
        return commands.map { command in
            // The first sentence: `--help` has the rest.
            let sentence = command.description.firstRange(of: ". ").map { command.description[..<$0.lowerBound] + "." }
            return "  \(command.title)\(String(repeating: " ", count: width - command.title.count))  "
                + (sentence.map(String.init) ?? command.description)
        }.joined(separator: "\n")
    }

    private static func all(state: String?) throws -> [PluginCommand] {
        var client = try ControlClient(path: try RunningHosts.controlSocket(state: state))
        let reply = try client.call("host.contributions", input: ["point": "cli"], deadlineMS: 2000)
        guard case .result(let result, _) = reply else { return [] }
        return (result["contributions"]?.arrayValue ?? []).compactMap(PluginCommand.init).sorted { $0.title < $1.title }
    }

    private static func find(_ words: [String], in commands: [PluginCommand]) -> (PluginCommand, [String])? {
        for command in commands where words.starts(with: command.path) {
            return (command, Array(words.dropFirst(command.path.count)))
        }
        return nil
    }
}

/// A command as a plugin describes it.
struct PluginCommand {
    let path: [String]
    let method: String
    let description: String
    let positional: [String]
    /// The method's input schema's `properties`, as far as the command offers them.
    let properties: JSONObject
    /// What the method is given in any case.
    private let arguments: JSONObject
    /// The text in the answer that people want, instead of the whole.
    private let text: JSONPointer?
    private let highlight: [String: String]

    var title: String { path.joined(separator: " ") }

    /// Nil for an entry that this version cannot use.
    init?(_ entry: JSON) {
        let item = entry["item"] ?? entry
        guard let name = item["name"]?.stringValue, let method = item["method"]?.stringValue else { return nil }
        path = [item["group"]?.stringValue, name].compactMap { $0 }
        self.method = method
        description = item["description"]?.stringValue ?? ""
        positional = (item["positional"]?.arrayValue ?? []).compactMap { $0.stringValue ?? $0["name"]?.stringValue }
        arguments = item["arguments"]?.objectValue ?? [:]
        text = item["text"]?.stringValue.flatMap(JSONPointer.init)
        highlight = (item["highlight"]?.objectValue ?? [:]).members.reduce(into: [:]) { $0[$1.name] = $1.value.stringValue }
        let offered = item["options"]?.arrayValue.map { $0.compactMap(\.stringValue) }
        let (words, fixed) = (positional, arguments)
        properties = JSONObject(
            (entry["method"]?["input"]?["properties"]?.objectValue ?? [:]).members
                .filter { fixed[$0.name] == nil && (words.contains($0.name) || offered?.contains($0.name) ?? true) }
                .map { ($0.name, $0.value) })
    }

    /// The answer as people see it.
    func view(_ answer: JSON) -> String {
        let style = TerminalStyle.output
        if let text, let wanted = answer[text]?.stringValue { return style.shown(wanted) }
        return Rendering(style: style, highlight: highlight).text(answer)
    }

    var usage: String {
        let arguments = positional.map { " <\($0)>" }.joined() + (takesMany ? "..." : "")
        let options = properties.members.filter { !positional.contains($0.name) }
        let lines = options.map { "  --\($0.name) <\(type($0.name) ?? "value")>  \($0.value["description"]?.stringValue ?? "")" }
        return """
            \(description)

            USAGE: knap \(title)\(arguments) [options]

            OPTIONS:
            \((lines + ["  --state <dir>  State directory of the host.", "  --json  Print JSON."]).joined(separator: "\n"))
            """
    }

    /// Whether the last argument is a list, of which each word is an element.
    private var takesMany: Bool { positional.last.map { type($0) == "array" } ?? false }

    func input(words: [String], options: [(name: String, value: String?)]) throws(CommandFailure) -> JSON {
        guard words.count <= positional.count || takesMany else {
            throw CommandFailure(
                ExitStatus.usage, "USAGE", "unexpected argument '\(words[positional.count])'; `knap \(title) --help` tells more")
        }
        var input = arguments
        for (name, word) in zip(positional, words) { input[name] = value(word, of: name) }
        if takesMany, let list = positional.last, words.count > positional.count {
            input[list] = .array(words[(positional.count - 1)...].map { element($0, of: list) })
        }
        for option in options {
            let name = property(option.name)
            guard properties.isEmpty || properties[name] != nil else {
                throw CommandFailure(ExitStatus.usage, "USAGE", "unknown option --\(option.name); `knap \(title) --help` lists them")
            }
            input[name] = option.value.map { value($0, of: name) } ?? true
        }
        return .object(input)
    }

    /// `--max-chars` is the property `max_chars` where there is no `max-chars`.
    private func property(_ option: String) -> String {
        let underscored = String(option.map { $0 == "-" ? "_" : $0 })
        return properties[option] == nil && properties[underscored] != nil ? underscored : option
    }

    private func element(_ text: String, of list: String) -> JSON {
        properties[list]?["items"]?["type"]?.stringValue == "string" ? .string(text) : (try? JSON.parse(text)) ?? .string(text)
    }

    private func type(_ name: String) -> String? { properties[name]?["type"]?.stringValue }

    private func value(_ text: String, of name: String) -> JSON {
        switch type(name) {
        case "string": return .string(text)
        case "array":
            if let parsed = try? JSON.parse(text), parsed.arrayValue != nil { return parsed }
            return .array([element(text, of: name)])
        default: return (try? JSON.parse(text)) ?? .string(text)
        }
    }
}

/// Words and options of a command whose options are known only after the host was asked.
private struct Invocation {
    var words: [String] = []
    var options: [(name: String, value: String?)] = []
    /// `--state` and `--json`, for the call that is made.
    var hostArguments: [String] = []
    var state: String?
    var wantsHelp = false

    init?(_ arguments: [String]) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("--"), argument != "--" else {
                if argument == "-h" { wantsHelp = true } else if argument != "--" { words.append(argument) }
                continue
            }
            let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1).map(String.init)
            guard let name = parts.first else { return nil }
            let inline = parts.count == 2 ? parts[1] : nil
            if name == "json" { hostArguments.append("--json"); continue }
            if name == "help" { wantsHelp = true; continue }
            // A flag is followed by another option or by nothing.
            let value = inline ?? (rest.first.map { $0.hasPrefix("--") } == false ? rest.popFirst() : nil)
            guard name == "state" else {
                options.append((name, value))
                continue
            }
            state = value
            hostArguments += ["--state", value ?? ""]
        }
    }
}
