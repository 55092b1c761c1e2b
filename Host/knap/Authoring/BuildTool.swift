/// What builds a plugin's project, told by the file that it reads.
enum BuildTool: CaseIterable {
    case make, cargo, swift

    /// That of a folder; nil when nothing there is known.
    init?(of directory: String) {
        guard let found = Self.allCases.first(where: { FileTree.isFile("\(directory)/\($0.project)") }) else { return nil }
        self = found
    }

    var project: String {
        switch self {
        case .make: "Makefile"
        case .cargo: "Cargo.toml"
        case .swift: "Package.swift"
        }
    }

    static var projects: String { allCases.map(\.project).joined(separator: ", ") }

    /// The program and its arguments, run in the project's folder.
    var command: [String] {
        switch self {
        case .make: ["make"]
        case .cargo: ["cargo", "build", "--release", "--offline"]
        case .swift: ["swift", "build", "-c", "release"]
        }
    }

    /// Where to get the tool from.
    var origin: String {
        switch self {
        case .make: "install make and a compiler (on Debian: apt-get install make gcc g++)"
        case .cargo: "install Rust, see https://rustup.rs"
        case .swift: "install Swift 6.3 or newer, see https://swift.org/install"
        }
    }

    /// The library that it makes of a plugin, in the project's folder.
    func product(of plugin: PluginName) -> String {
        switch self {
        case .make: "build/\(plugin.name).so"
        case .cargo: "target/release/lib\(plugin.identifier).so"
        case .swift: ".build/release/lib\(plugin.identifier).so"
        }
    }
}
