import ArgumentParser
import KnapHost
import KnapJSON

extension Plugins {
    /// `knap plugins inspect`.
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what is in a plugin's file, without running any of it.",
            discussion: """
                Its manifest, identity, signatures, language, where it can run, what it asks for, and what its library needs and \
                exports. --json has the whole manifest. Needs no running host.
                """)
        @Argument(help: "NAME.so or NAME.knap.", completion: .file(extensions: ["so", "knap"])) var file: String
        @Flag(help: "Print JSON: results on stdout, errors on stderr.") var json = false

        func run() throws {
            try reporting(json) {
                Output.result(try InspectedLibrary(file).facts, asJSON: json) { facts in
                    guard var object = facts.objectValue else { return Render.text(facts) }
                    object["manifest"] = nil
                    return Render.text(
                        .object(JSONObject(object.members.filter { $0.value.arrayValue?.isEmpty != true && !$0.value.isNull })))
                }
            }
        }
    }

    /// `knap plugins pack`.
    struct Pack: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a manifest into a library, so that the plugin is one file.",
            discussion: """
                The manifest is checked first and becomes the section .knap, in place of one that is there. Signatures that the \
                library had are left out, because they were for what it was: sign last.
                """)
        @Argument(help: "The library.", completion: .file(extensions: ["so"])) var library: String
        @Argument(help: "The manifest, a JSON file.", completion: .file(extensions: ["json"])) var manifest: String
        @Option(name: .shortAndLong, help: "Write this file instead of the library itself.", completion: .file())
        var output: String?
        @Flag(help: "Print JSON: results on stdout, errors on stderr.") var json = false

        func run() throws {
            try reporting(json) {
                let packed = try Packing.pack(library, manifest: manifest, into: output ?? library)
                Output.result(.object(packed.summary), asJSON: json) { _ in
                    "\(packed.path): \(packed.manifest.name) \(packed.manifest.version)"
                }
            }
        }
    }
}
