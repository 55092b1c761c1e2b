import ArgumentParser
import Glibc
import KnapControl
import KnapJSON

/// `knap plugins`.
struct Plugins: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List plugins, look at one, and change what runs.",
        discussion: """
            EXAMPLES
              knap plugins                          all of them, with states and reasons
              knap plugins watch                    the same, live
              knap plugins info obsidian            one, whole
              knap plugins install ./foo.so         copy it, or a folder foo.knap, where it starts
              knap plugins upgrade ./new            all libraries of a folder, or none
              knap plugins grant foo                give it what it asks for
              knap plugins reload foo               load it anew; no call fails
              knap plugins rollback foo             return to the version before
              knap plugins isolate foo in-process   choose where it runs
              knap plugins keygen me.pem            a key; share me.pem.pub
              knap plugins sign libfoo.so --key me.pem
              knap plugins trust add me.pem.pub     trust what this key signed

            A change is waited for; --no-wait prints its number instead, for
            `knap call host.operation`.
            """,
        subcommands: [
            List.self, Info.self, Watch.self, New.self, Build.self, Install.self, Upgrade.self, Remove.self, Enable.self, Disable.self, Reload.self,
            Rollback.self, Isolate.self, Grant.self, Release.self, Inspect.self, Pack.self, Keygen.self, Sign.self, Verify.self,
            TrustCommand.self,
        ], defaultSubcommand: List.self)

    static let columns = ["name", "version", "state", "isolation", "reason"]

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All plugins with their states and the reasons.")
        @OptionGroup var host: HostOptions

        func run() throws {
            host.show(try host.call("host.plugins")) { result in
                Render.table((result["plugins"]?.arrayValue ?? []).map { Plugins.row($0) }, first: Plugins.columns)
            }
        }
    }

    /// What one line has room for.
    static func row(_ plugin: JSON) -> JSON {
        .object(JSONObject(columns.compactMap { name in plugin[name].map { (name, $0) } }))
    }

    struct Watch: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print every change of a plugin's state as it happens.",
            discussion: "One line a change, until it is interrupted or the host ends. With --json each line is an object.")
        @OptionGroup var host: HostOptions

        func run() throws {
            _ = try host.call("host.watch", onItem: { item in
                Output.print(host.json ? item.value.serialized() : Self.line(item.value))
                fflush(nil)
            })
        }

        private static func line(_ change: JSON) -> String {
            let text = { (name: String) in change[name]?.stringValue ?? "" }
            return "\(text("name"))  \(text("state"))  \(text("reason"))"
        }
    }

    struct Info: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One plugin: state, calls, what it asked for and was granted, history.",
            discussion: "--json has everything, with the whole history and the methods' schemas.")
        @Argument(help: "The plugin's name.", completion: Completing.plugins) var name: String
        @OptionGroup var host: HostOptions

        func run() throws { host.show(try host.call("host.plugin", ["name": .string(name)]), PluginText.text) }
    }

    struct Install: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copy a library or a plugin's folder into the drop directory and start it.",
            discussion: """
                A manifest beside a library (NAME.json for NAME.so) is copied too. A plugin that brings private libraries or data \
                is a folder, NAME.knap, with NAME.so in it; it is taken, signed, replaced and removed as one.
                """)
        @Argument(help: "NAME.so or NAME.knap.", completion: .file(extensions: ["so", "knap"])) var file: String
        @OptionGroup var change: ChangeOptions

        func run() throws { try change.run("host.install", ["path": .string(try absolutePath(file))]) }
    }

    struct Upgrade: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take all libraries of a folder as new versions: all of them run then, or none.",
            discussion: "They are planned together and replace the running versions in one transaction; no call fails.")
        @Argument(help: "The folder.", completion: .directory) var directory: String
        @OptionGroup var change: ChangeOptions

        func run() throws { try change.run("host.upgrade", ["path": .string(try absolutePath(directory))]) }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a plugin's file and stop it.")
        @Argument(help: "The plugin's name.", completion: Completing.plugins) var name: String
        @Flag(help: "Stop the plugins that require it too.") var cascade = false
        @OptionGroup var change: ChangeOptions

        func run() throws { try change.run("host.remove", ["name": .string(name), "cascade": .bool(cascade)]) }
    }

    struct Enable: NamedChange {
        static let configuration = CommandConfiguration(abstract: "Let a plugin run, now and at every start.")
        static let method = "host.enable"
        @OptionGroup var target: NamedTarget
    }

    struct Disable: NamedChange {
        static let configuration = CommandConfiguration(
            abstract: "Stop a plugin until it is enabled; what requires it stops first.")
        static let method = "host.disable"
        @OptionGroup var target: NamedTarget
    }

    struct Reload: NamedChange {
        static let configuration = CommandConfiguration(abstract: "Load a plugin anew without failing a call.")
        static let method = "host.reload"
        @OptionGroup var target: NamedTarget
    }

    struct Rollback: NamedChange {
        static let configuration = CommandConfiguration(
            abstract: "Return to the version that ran before, on its durable state.")
        static let method = "host.rollback"
        @OptionGroup var target: NamedTarget
    }

    struct Grant: NamedChange {
        static let configuration = CommandConfiguration(
            abstract: "Grant a plugin the permissions that it asks for, and start it.",
            discussion: "`knap plugins info NAME` shows what it asks for.")
        static let method = "host.grant"
        @OptionGroup var target: NamedTarget
    }

    struct Release: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a plugin out of quarantine and try it again, wherever the operator has it run.",
            discussion: "Without a name it ends safe mode: what a crash that nobody can be blamed for holds back starts.")
        @Argument(help: "The plugin's name.", completion: Completing.plugins) var name: String?
        @OptionGroup var change: ChangeOptions

        func run() throws {
            try change.run("host.release", .object(JSONObject(name.map { [("name", .string($0))] } ?? [])))
        }
    }

    struct Isolate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Choose where a plugin runs.",
            discussion: "worker: a process of its own. in-process: the host's, faster, but a crash is the host's.")
        @Argument(help: "The plugin's name.", completion: Completing.plugins) var name: String
        @Argument(help: "worker, in-process, or default.", completion: .list(["worker", "in-process", "default"]))
        var isolation: String
        @OptionGroup var change: ChangeOptions

        func validate() throws {
            if !["worker", "in-process", "default"].contains(isolation) {
                throw ValidationError("'\(isolation)' is not one of worker, in-process, default.")
            }
        }

        func run() throws {
            var input: JSONObject = ["name": .string(name)]
            if isolation != "default" { input["isolation"] = .string(isolation) }
            try change.run("host.isolate", .object(input))
        }
    }
}

/// As the host, which runs elsewhere, can find it.
private func absolutePath(_ path: String) throws -> String {
    guard let resolved = realpath(path, nil) else {
        throw CommandFailure(ExitStatus.notFound, "NOT_FOUND", "\(path): \(String(cString: strerror(errno)))")
    }
    defer { free(resolved) }
    return String(cString: resolved)
}

/// A plugin's name, and how its change is waited for.
struct NamedTarget: ParsableArguments {
    @Argument(help: "The plugin's name.", completion: Completing.plugins) var name: String
    @OptionGroup var change: ChangeOptions
}

/// A change of one plugin that needs nothing but its name.
protocol NamedChange: ParsableCommand {
    static var method: String { get }
    var target: NamedTarget { get }
}

extension NamedChange {
    func run() throws { try target.change.run(Self.method, ["name": .string(target.name)]) }
}

/// How a command that changes something waits for it.
struct ChangeOptions: ParsableArguments {
    @Flag(name: .customLong("no-wait"), help: "Do not wait: print the operation's number.") var isBackground = false
    @OptionGroup var host: HostOptions

    /// Starts an operation, waits for it and prints what became of it; a failed one is an error.
    func run(_ method: String, _ input: JSON) throws {
        let begun = try host.call(method, input)
        guard !isBackground, let number = begun["operation"] else { return host.show(begun) }
        let ended = try host.call("host.operation", ["operation": number, "wait": true], deadlineMS: 120_000)
        guard ended["state"] == "done" else {
            var failure = CommandFailure(
                ExitStatus.data, "FAILED_PRECONDITION", ended["message"]?.stringValue ?? "it did not end in time")
            failure.asJSON = host.json
            throw failure
        }
        host.show(ended) { $0["message"]?.stringValue ?? "done" }
    }
}

/// `knap plan`.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "What would change now, in order, and what would be left out and why.")
    @OptionGroup var host: HostOptions

    func run() throws { host.show(try host.call("host.plan")) { $0["text"]?.stringValue ?? Render.text($0) } }
}

/// `knap history`.
struct HistoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "What was done to plugins, newest last.",
        discussion: "--json has the contents' whole digests.")
    @Option(name: .shortAndLong, help: "How many entries.") var count = 50
    @OptionGroup var host: HostOptions

    /// Versions with as much of their digests as tells them apart.
    private func short(_ entry: JSON) -> JSON {
        var object = entry.objectValue ?? [:]
        for name in ["from", "to"] {
            guard let content = object[name]?.stringValue else { continue }
            object[name] = .string(content.split(separator: " ").map { $0.count == 64 ? $0.prefix(8) : $0 }.joined(separator: " "))
        }
        return .object(object)
    }

    func run() throws {
        host.show(try host.call("host.history", ["count": .number(JSONNumber(count))])) {
            let entries = $0["history"]?.arrayValue ?? []
            if entries.isEmpty { return "Nothing was changed yet." }
            return Render.table(entries.map(short), first: ["time_ms", "change", "plugin", "from", "to", "outcome", "error"])
        }
    }
}
