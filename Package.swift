// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
let strictC: [CSetting] = [
    .define("_GNU_SOURCE"), .unsafeFlags(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread"]),
]
/// A plugin exports its entry and nothing else, binds to its own symbols, and is never unmapped (Swift's runtime keeps
/// pointers into every image).
let pluginLinking: [LinkerSetting] = [
    .unsafeFlags([
        "-Xlinker", "--version-script=\(Context.packageDirectory)/PluginAPI/C/exports.map", "-Xlinker", "-Bsymbolic",
        "-Xlinker", "-z", "-Xlinker", "nodelete",
    ])
]

let package = Package(
    name: "Knap",
    products: [
        .executable(name: "knap", targets: ["knap"]),
        .library(name: "gateway", type: .dynamic, targets: ["GatewayEntry"]),
        .library(name: "obsidian", type: .dynamic, targets: ["ObsidianEntry"]),
        .library(name: "conformance", type: .dynamic, targets: ["ConformanceEntry"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", exact: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/vapor/jwt-kit", exact: "5.7.1"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    ],
    targets: [
        // The contract
        .target(name: "CKnap", path: "PluginAPI/C", exclude: ["exports.map", "knap-abi.json"]),
        .target(name: "KnapJSON", path: "PluginAPI/Swift/KnapJSON", swiftSettings: strict),
        .target(
            name: "KnapPlugin", dependencies: ["CKnap", "KnapJSON"], path: "PluginAPI/Swift/KnapPlugin",
            swiftSettings: strict),

        // The host
        .target(name: "KnapCallEngine", dependencies: ["CKnap"], path: "Host/CallEngine", cSettings: strictC),
        .target(
            name: "KnapLink", dependencies: ["KnapCallEngine"], path: "Host/Link", cSettings: strictC),
        .target(
            name: "KnapBlackBox", dependencies: ["KnapCallEngine"], path: "Host/BlackBox", cSettings: strictC),
        .target(
            name: "KnapSystemCalls", path: "Host/SystemCalls", cSettings: strictC, linkerSettings: [.linkedLibrary("seccomp")]),
        .systemLibrary(name: "CCrypto", path: "Host/KnapHost/CCrypto", providers: [.apt(["libssl-dev"])]),
        .target(
            name: "KnapHost",
            dependencies: [
                "CKnap", "CLinux", "KnapCallEngine", "KnapBlackBox", "KnapLink", "KnapSystemCalls", "KnapJSON", "KnapPlugin",
                "CCrypto", .product(name: "Logging", package: "swift-log"),
            ], path: "Host/KnapHost", exclude: ["CCrypto"], swiftSettings: strict),

        .target(name: "CLinux", path: "Host/CLinux"),
        .target(
            name: "KnapControl", dependencies: ["CKnap", "KnapJSON", "CLinux"], path: "Host/Control", swiftSettings: strict),

        .target(
            name: "KnapChecking", dependencies: ["KnapHost", "KnapJSON", "CLinux"], path: "Host/Checking", swiftSettings: strict),

        .executableTarget(
            name: "knap",
            dependencies: [
                "KnapHost", "KnapChecking", "KnapControl", "KnapJSON", "KnapPlugin", "CLinux", .product(name: "Logging", package: "swift-log"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], path: "Host/knap", swiftSettings: strict,
            // Threads get a second stack; see Host/BlackBox/threads.c.
            linkerSettings: [.unsafeFlags(["-Xlinker", "--export-dynamic-symbol=pthread_create"])]),

        // Plugins
        .target(
            name: "Gateway",
            dependencies: [
                "KnapPlugin", "KnapJSON", .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "HTTPTypes", package: "swift-http-types"), .product(name: "Logging", package: "swift-log"),
            ], path: "Plugins/Gateway", exclude: ["Entry"], swiftSettings: strict),
        .target(
            name: "GatewayEntry", dependencies: ["Gateway", "KnapPlugin", "CKnap"], path: "Plugins/Gateway/Entry",
            swiftSettings: strict, linkerSettings: pluginLinking),
        .systemLibrary(name: "CVaultShims", path: "Plugins/Obsidian/CVaultShims", providers: [.apt(["libssl-dev"])]),
        .target(
            name: "Obsidian",
            dependencies: ["KnapPlugin", "CVaultShims", .product(name: "GRDB", package: "GRDB.swift"), "Yams"],
            path: "Plugins/Obsidian", exclude: ["CVaultShims", "Entry"], swiftSettings: strict),
        .target(
            name: "ObsidianEntry", dependencies: ["Obsidian", "CKnap"], path: "Plugins/Obsidian/Entry", swiftSettings: strict,
            linkerSettings: pluginLinking),

        // Tests
        .executableTarget(
            name: "ValidationBenchmark", dependencies: ["KnapHost", "KnapJSON"], path: "Tests/Benchmarks/Validation",
            swiftSettings: strict),
        .executableTarget(
            name: "WorkerBenchmark", dependencies: ["KnapHost", "KnapJSON", "KnapPlugin", "KnapCallEngine", "CKnap"],
            path: "Tests/Benchmarks/Workers", swiftSettings: strict),
        .target(
            name: "GreeterFixture", dependencies: ["KnapPlugin"], path: "Tests/Fixtures/Plugins/Greeter",
            exclude: ["Entry"], swiftSettings: strict),
        .target(
            name: "ConformanceFixture", dependencies: ["KnapPlugin", "KnapJSON"], path: "Tests/Fixtures/Plugins/Conformance",
            exclude: ["Entry", "conformance.json"], swiftSettings: strict),
        .target(
            name: "ConformanceEntry", dependencies: ["ConformanceFixture", "KnapPlugin", "CKnap"],
            path: "Tests/Fixtures/Plugins/Conformance/Entry", swiftSettings: strict, linkerSettings: pluginLinking),
        .target(name: "TestSupport", path: "Tests/Support", swiftSettings: strict),
        .testTarget(
            name: "KnapHostTests", dependencies: ["KnapHost", "KnapJSON", "KnapPlugin", "TestSupport"], path: "Tests/KnapHost",
            swiftSettings: strict),
        .testTarget(
            name: "KnapCheckingTests", dependencies: ["KnapChecking", "KnapHost", "KnapJSON", "TestSupport"], path: "Tests/Checking",
            swiftSettings: strict),
        .testTarget(name: "KnapJSONTests", dependencies: ["KnapJSON"], path: "Tests/KnapJSON", swiftSettings: strict),
        .testTarget(
            name: "KnapPluginTests",
            dependencies: ["CKnap", "KnapCallEngine", "KnapJSON", "KnapPlugin", "GreeterFixture", "TestSupport"],
            path: "Tests/KnapPlugin", swiftSettings: strict),
        .testTarget(
            name: "KnapControlTests", dependencies: ["KnapControl", "KnapHost", "KnapJSON", "TestSupport"],
            path: "Tests/KnapControl", swiftSettings: strict),
        .testTarget(
            name: "GatewayTests", dependencies: ["Gateway", "KnapHost", "KnapJSON", "TestSupport"], path: "Tests/Gateway",
            swiftSettings: strict),
        .testTarget(
            name: "ObsidianTests", dependencies: ["Obsidian", "KnapJSON", "KnapPlugin", "TestSupport"], path: "Tests/Obsidian",
            swiftSettings: strict),
    ]
)
