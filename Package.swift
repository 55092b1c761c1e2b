// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

let package = Package(
    name: "Knap",
    targets: [
        .target(name: "CKnap", path: "PluginAPI/C"),
        .target(
            name: "KnapCallEngine", dependencies: ["CKnap"], path: "Host/CallEngine",
            cSettings: [.define("_GNU_SOURCE"), .unsafeFlags(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread"])]),
        .target(name: "KnapJSON", path: "PluginAPI/Swift/KnapJSON", swiftSettings: strict),
    ]
)
