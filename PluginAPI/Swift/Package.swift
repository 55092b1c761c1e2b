// swift-tools-version: 6.2
// The SDK as plugins outside of this repository get it, with the C headers beside it: `knap plugins new --lang swift`.
import PackageDescription

let package = Package(
    name: "knap",
    products: [.library(name: "KnapPlugin", targets: ["KnapPlugin"]), .library(name: "CKnap", targets: ["CKnap"])],
    targets: [
        .target(name: "CKnap", path: "CKnap"),
        .target(name: "KnapJSON", path: "KnapJSON", swiftSettings: [.swiftLanguageMode(.v6)]),
        .target(
            name: "KnapPlugin", dependencies: ["CKnap", "KnapJSON"], path: "KnapPlugin",
            swiftSettings: [.swiftLanguageMode(.v6)]),
    ])
