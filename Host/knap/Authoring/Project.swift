import CLinux
import Glibc
import KnapHost

/// A plugin's folder: its manifest, and what builds it.
struct Project {
    let directory: String
    let manifest: String
    let name: PluginName
    private let tool: BuildTool

    init(_ directory: String) throws {
        guard FileTree.isDirectory(directory) else {
            throw CommandFailure(ExitStatus.notFound, "NOT_FOUND", "there is no folder '\(directory)'")
        }
        self.directory = directory
        manifest = "\(directory)/manifest.json"
        guard FileTree.isFile(manifest) else {
            throw CommandFailure(
                ExitStatus.notFound, "NOT_FOUND",
                "there is no manifest.json in '\(directory)'; `knap plugins new NAME --lang LANGUAGE` makes a whole project")
        }
        let bytes = try FileTree.read(manifest)
        let content: Manifest
        do throws(ManifestError) { content = try Manifest(bytes, file: manifest) } catch {
            throw CommandFailure(ExitStatus.data, "BAD_MANIFEST", error.description)
        }
        name = try PluginName(content.name)
        guard let tool = BuildTool(of: directory) else {
            throw CommandFailure(
                ExitStatus.notFound, "NOT_FOUND", "nothing in '\(directory)' says how to build it; one of these is needed: \(BuildTool.projects)")
        }
        self.tool = tool
    }

    /// The plugin, one file with its manifest in it.
    var output: String { "\(directory)/\(name.name).so" }

    /// Builds the library and puts the manifest into it. What the build tool prints goes to stderr.
    func build() throws -> InspectedLibrary {
        try run(tool.command)
        let product = "\(directory)/\(tool.product(of: name))"
        guard FileTree.isFile(product) else {
            throw CommandFailure(
                ExitStatus.data, "NOT_BUILT", "\(tool.command.joined(separator: " ")) did not make '\(product)'; see what it builds")
        }
        return try Packing.pack(product, manifest: manifest, into: output)
    }

    private func run(_ command: [String]) throws {
        var arguments = command.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        let status = knap_run_program(directory, &arguments)
        guard status >= 0 else {
            throw CommandFailure(
                ExitStatus.unavailable, "NO_BUILD_TOOL",
                errno == ENOENT
                    ? "'\(command[0])' is needed to build '\(directory)', and is not there: \(tool.origin)"
                    : "'\(command[0])' cannot be run: \(String(cString: strerror(errno)))")
        }
        guard status == 0 else {
            throw CommandFailure(
                ExitStatus.data, "BUILD_FAILED", "\(command.joined(separator: " ")) failed in '\(directory)'; its messages are above")
        }
    }
}
