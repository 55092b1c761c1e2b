import ArgumentParser
import KnapHost

/// `knap serve`.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the host: serve notes to AI clients over MCP and HTTP.",
        discussion: """
            Prints how to connect. Stops in order on SIGTERM and Ctrl-C, at once on the second. The access token is in \
            the state directory; KNAP_TOKEN replaces it.

            EXAMPLES
              knap serve --vault ~/Notes
              knap serve --vault ~/Notes --vault ~/Work --port 8800
            """)

    @Option(help: ArgumentHelp("A folder of notes; may be repeated.", valueName: "dir")) var vault: [String] = []
    @Option(help: ArgumentHelp("Port of the HTTP side.", valueName: "n")) var port: UInt16?
    @Option(help: ArgumentHelp("State directory; default: one for the vault.", valueName: "dir")) var state: String?
    @Option(help: ArgumentHelp("More plugins are here; may be repeated.", valueName: "dir")) var plugins: [String] = []
    @Option(help: ArgumentHelp("Which plugins run together.", valueName: "name")) var profile: String?
    /// Ends half a minute after the last client.
    @Flag(help: .hidden) var relayStarted = false

    func validate() throws {
        if vault.isEmpty && state == nil { throw ValidationError("Say which notes to serve: --vault DIR.") }
    }

    func run() throws {
        let vaults = try VaultPaths.resolve(vault)
        do {
            let directory = try StateDirectory(creating: state ?? StatePath().directory(forVaults: vaults))
            let options = ServeOptions(
                state: directory, vaults: vaults, port: port, pluginDirectories: plugins.map { realPath($0) ?? $0 },
                profile: profile, isRelayStarted: relayStarted)
            let code = try ServedHost.run(options)
            if code != 0 { throw ExitCode(code) }
        } catch let error as ExitCode {
            throw error
        } catch {
            throw CommandFailure(any: error)
        }
    }
}
