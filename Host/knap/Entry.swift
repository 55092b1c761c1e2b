import Glibc

/// Where `knap` begins.
///
/// A relay goes its own short way: an MCP client waits for its first answer, and needs nothing of the command line.
@main
enum Entry {
    static func main() {
        // An end that is gone is an error of `write`, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let arguments = Array(CommandLine.arguments.dropFirst())
        if let relay = RelayArguments(plain: arguments) { exit(Relay.run(relay)) }
        exit(CommandLineRun.run(arguments))
    }
}
