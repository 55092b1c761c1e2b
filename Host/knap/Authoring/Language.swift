import ArgumentParser

/// A language that plugins are written in: how such a project looks and is built.
enum Language: String, CaseIterable, ExpressibleByArgument {
    case c, cpp, rust, swift
    case swiftEmbedded = "swift-embedded"

    var name: String {
        switch self {
        case .c: "C"
        case .cpp: "C++"
        case .rust: "Rust"
        case .swift: "Swift"
        case .swiftEmbedded: "Embedded Swift"
        }
    }

    var test: String {
        switch self {
        case .c, .cpp, .swiftEmbedded: "make test"
        case .rust: "cargo test"
        case .swift: "swift test"
        }
    }

    /// Where the plugin's own code is, in a project from the template.
    var source: String {
        switch self {
        case .c: "source/@identifier@.c"
        case .cpp: "source/@identifier@.cpp"
        case .rust: "src/lib.rs"
        case .swift: "Sources/@identifier@/Plugin.swift"
        case .swiftEmbedded: "source/Plugin.swift"
        }
    }
}
