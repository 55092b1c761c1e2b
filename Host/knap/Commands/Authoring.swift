import ArgumentParser
import KnapHost
import KnapJSON

extension Plugins {
    /// `knap plugins new`.
    struct New: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a project for a new plugin, which builds and serves as it is.",
            discussion: """
                It has a tool to start from, a test, a README, and Knap's kit for the language; it builds with the language's \
                ordinary tools, without a network and without Knap. Then: knap plugins build DIR.
                """)
        @Argument(help: "The plugin's name, such as note-quiz.") var name: String
        @Option(
            help: ArgumentHelp(
                "The language: \(Language.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "language"))
        var lang: Language
        @Option(help: "The project's folder; without it, NAME in the current one.", completion: .directory) var dir: String?
        @Flag(help: "Print JSON: results on stdout, errors on stderr.") var json = false

        func run() throws {
            try reporting(json) {
                let plugin = try PluginName(name)
                let directory = dir ?? name
                let templates = Installation(program: Banner.program).templates
                try ProjectTemplate(lang, plugin, templates: templates).make(in: directory)
                let result: JSON = [
                    "directory": .string(directory), "name": .string(name), "language": .string(lang.rawValue),
                    "service": .string(plugin.service),
                ]
                Output.result(result, asJSON: json) { _ in
                    "\(directory): a plugin in \(lang.name)\nbuild it with: knap plugins build \(directory)"
                }
            }
        }
    }

    /// `knap plugins build`.
    struct Build: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Build a plugin's project into one file, with its manifest in it.",
            discussion: """
                Runs make, cargo or swift, whichever the folder is for, puts manifest.json into the library, and prints the path \
                of the file: NAME.so in the folder. Copied into the drop directory, or given to `knap plugins install`, it serves.
                """)
        @Argument(help: "The project's folder.", completion: .directory) var directory = "."
        @Flag(help: "Print JSON: results on stdout, errors on stderr.") var json = false

        func run() throws {
            try reporting(json) {
                let built = try Project(directory).build()
                for warning in built.warnings { Output.note("knap: \(built.path): \(warning)") }
                Output.result(.object(built.summary), asJSON: json) { _ in built.path }
            }
        }
    }
}
