import ArgumentParser

/// `knap mcp`, for the arguments that `RelayArguments` does not take the short way.
struct MCP: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mcp",
        abstract: "Speak MCP on stdin and stdout: what an AI client starts.",
        discussion: """
            Joins the host that serves the vault, or starts it; that host ends half a minute after its last client. \
            Several clients and `knap serve` share one host.

            EXAMPLE (Claude Code)
              claude mcp add knap -- knap mcp --vault ~/Notes
            """)

    @Option(help: ArgumentHelp("A folder of notes; may be repeated.", valueName: "dir")) var vault: [String] = []
    @Option(help: ArgumentHelp("State directory; default: one for the vault.", valueName: "dir")) var state: String?
    @Option(help: ArgumentHelp("More plugins are here; may be repeated.", valueName: "dir")) var plugins: [String] = []
    @Option(help: ArgumentHelp("Which plugins run together.", valueName: "name")) var profile: String?
    @Option(help: ArgumentHelp("Port of the HTTP side.", valueName: "n")) var port: UInt16?

    func validate() throws {
        if vault.isEmpty && state == nil { throw ValidationError("Say which notes to serve: --vault DIR.") }
    }

    func run() throws {
        var arguments = RelayArguments()
        (arguments.vaults, arguments.state, arguments.plugins) = (vault, state, plugins)
        (arguments.profile, arguments.port) = (profile, port.map { String($0) })
        throw ExitCode(Relay.run(arguments))
    }
}
