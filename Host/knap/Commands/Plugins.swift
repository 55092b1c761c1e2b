import ArgumentParser
import KnapJSON

/// `knap plugins`.
struct Plugins: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List plugins, look at one, or grant it what it asks for.",
        subcommands: [List.self, Info.self, Grant.self], defaultSubcommand: List.self)

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All plugins with their states and the reasons.")
        @OptionGroup var host: HostOptions

        func run() throws {
            host.show(try host.call("host.plugins")) {
                Render.table($0["plugins"]?.arrayValue ?? [], first: ["name", "version", "state", "reason"])
            }
        }
    }

    struct Info: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One plugin, whole: manifest, history, what it asked for and was granted.")
        @Argument(help: "The plugin's name.") var name: String
        @OptionGroup var host: HostOptions

        func run() throws { host.show(try host.call("host.plugin", ["name": .string(name)])) }
    }

    struct Grant: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Grant a plugin the permissions that it asks for.",
            discussion: "`knap plugins info NAME` shows what it asks for.")
        @Argument(help: "The plugin's name.") var name: String
        @OptionGroup var host: HostOptions

        func run() throws { host.show(try host.call("host.grant", ["name": .string(name)])) }
    }
}

/// `knap plan`.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "What a start now would do, and what would be left out and why.")
    @OptionGroup var host: HostOptions

    func run() throws { host.show(try host.call("host.plan")) }
}
