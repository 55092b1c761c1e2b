import ArgumentParser

/// The command line.
struct Knap: ParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "knap",
        abstract: "Serves your notes to AI clients, and hosts plugins.",
        discussion: """
            EXAMPLES
              knap serve --vault ~/Notes               serve a folder of notes over MCP and HTTP
              knap mcp --vault ~/Notes                 speak MCP on stdin and stdout (this is what clients start)
              knap call vault.search_notes '{"query":"tea"}'
                                                       call any method of any plugin
              knap plugins list                        what runs, what does not, and why
              knap doctor                              what is wrong, and what to do about it
              knap config set gateway.port 8800        change a setting

            Commands talk to the running host. When several run, --state DIR (or KNAP_STATE) says which.

            \(ExitStatus.table)
            """,
        version: version,
        subcommands: [
            Serve.self, MCP.self, CallMethod.self, PlanCommand.self, HistoryCommand.self, Plugins.self, Check.self, Doctor.self,
            Config.self, Version.self, Completions.self,
        ])

    static var commandNames: [String] {
        configuration.subcommands.map { $0._commandName } + ["help"]
    }
}
