// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

let package = Package(
    name: "Knap",
    targets: [
        .target(name: "CKnap", path: "PluginAPI/C"),
        .target(name: "KnapJSON", path: "PluginAPI/Swift/KnapJSON", swiftSettings: strict),
    ]
)
