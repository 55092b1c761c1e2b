import ArgumentParser
import Glibc
import KnapControl
import KnapJSON

/// What a shell may offer that only the running host knows. Without one, or when it does not answer at once, nothing: a
/// completion never waits and never complains.
enum Completing {
    /// For an argument that is a plugin's name.
    static let plugins = CompletionKind.custom { words, _, prefix in
        offer(prefix) { host in
            try host.ask("host.plugins", "plugins").compactMap { $0["name"]?.stringValue }
        } at: { state(in: words) }
    }

    /// For `SERVICE.METHOD`.
    static let methods = CompletionKind.custom { words, _, prefix in
        offer(prefix) { host in
            try host.ask("host.services", "services").flatMap { $0["methods"]?.arrayValue ?? [] }
                .compactMap { $0["name"]?.stringValue }
        } at: { state(in: words) }
    }

    /// For the name of a key that is trusted.
    static let trustedKeys = CompletionKind.custom { words, _, prefix in
        offer(prefix) { host in
            try host.ask("host.trust_list", "keys").compactMap { $0["name"]?.stringValue }
        } at: { state(in: words) }
    }

    /// The hidden command by which scripts ask for commands that plugins contribute.
    static let request = "---plugin-commands"

    /// Answers to the words after `knap`, the last of which is to be completed, a line each.
    static func run(_ words: [String]) -> Int32 {
        let prefix = words.last ?? ""
        // What `knap` knows itself is in the scripts.
        if words.count > 1, let first = words.first, Knap.commandNames.contains(first) { return ExitStatus.ok }
        let found = offer(prefix) { host in
            let commands = try host.ask("host.contributions", "contributions", ["point": "cli"]).compactMap(PluginCommand.init)
            return candidates(words.dropLast(), prefix, commands)
        } at: { state(in: words) }
        if !found.isEmpty { Output.print(found.joined(separator: "\n")) }
        return ExitStatus.ok
    }

    /// What may follow these words: parts of commands' names, then options of a command, then values of an option.
    static func candidates(_ words: some Collection<String>, _ prefix: String, _ commands: [PluginCommand]) -> [String] {
        let plain = Array(words.drop { $0.hasPrefix("-") })
        if let command = commands.first(where: { plain.starts(with: $0.path) }) {
            if let option = plain.last, option.hasPrefix("--"), let values = command.values(of: String(option.dropFirst(2))) {
                return values
            }
            return prefix.hasPrefix("-") ? command.optionNames.map { "--\($0)" } : []
        }
        return commands.filter { $0.path.count > plain.count && $0.path.starts(with: plain) }.map { $0.path[plain.count] }
    }

    private static func offer(
        _ prefix: String, _ ask: (borrowing QuickHost) throws -> [String], at state: () -> String?
    ) -> [String] {
        guard let host = try? QuickHost(state: state()), let all = try? ask(host) else { return [] }
        return Set(all.filter { $0.hasPrefix(prefix) }).sorted()
    }

    /// What follows `--state` on the line.
    private static func state(in words: [String]) -> String? {
        if let inline = words.last(where: { $0.hasPrefix("--state=") }) { return String(inline.dropFirst(8)) }
        guard let index = words.lastIndex(of: "--state"), index + 1 < words.count - 1 else { return nil }
        return words[index + 1]
    }
}

/// The running host, asked by somebody who waits at a prompt.
private struct QuickHost: ~Copyable {
    private let socket: String

    init(state: String?) throws {
        socket = try RunningHosts.controlSocket(state: state)
        // A host that does not answer, because it is stopped for instance, must not hold the shell: this process just ends.
        signal(SIGALRM, SIG_DFL)
        alarm(1)
    }

    func ask(_ method: String, _ field: String, _ input: JSON = .object([:])) throws -> [JSON] {
        var client = try ControlClient(path: socket)
        guard case .result(let result, _) = try client.call(method, input: input, deadlineMS: 900) else { return [] }
        return result[field]?.arrayValue ?? []
    }
}

extension PluginCommand {
    /// As they are written on the command line, with those that every command has.
    fileprivate var optionNames: [String] {
        properties.names.filter { !positional.contains($0) } + ["state", "json", "help"]
    }

    /// The values that an option takes; nil when they are not few and known.
    fileprivate func values(of option: String) -> [String]? {
        let schema = properties[option] ?? properties[String(option.map { $0 == "-" ? "_" : $0 })]
        let allowed = schema?["enum"] ?? schema?["items"]?["enum"]
        return allowed?.arrayValue?.map { $0.stringValue ?? $0.serialized() }
    }
}
