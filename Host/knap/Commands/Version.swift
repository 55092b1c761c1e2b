import ArgumentParser
import KnapJSON

/// `knap version`.
struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The version of this program.")
    @Flag(help: "Print JSON.") var json = false

    func run() { Output.print(json ? JSON.object(["knap": .string(Knap.version)]).serialized() : "knap \(Knap.version)") }
}

/// `knap completions`.
struct Completions: ParsableCommand {
    enum Shell: String, ExpressibleByArgument, CaseIterable { case bash, zsh, fish }

    static let configuration = CommandConfiguration(
        abstract: "Print the completion script of a shell.",
        discussion: """
            Names of plugins and methods, and the commands that plugins add, are those of the running host.

            EXAMPLES
              source <(knap completions bash)
              knap completions zsh > ~/.zfunc/_knap
              knap completions fish > ~/.config/fish/completions/knap.fish
            """)
    @Argument(help: "bash, zsh or fish.") var shell: Shell

    func run() {
        let script =
            switch shell {
            case .bash: CompletionScript.bash()
            case .zsh: CompletionScript.zsh()
            case .fish: CompletionScript.fish()
            }
        Output.print(script)
    }
}
