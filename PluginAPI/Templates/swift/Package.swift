// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "@name@",
    products: [.library(name: "@identifier@", type: .dynamic, targets: ["@identifier@"])],
    dependencies: [.package(path: "knap")],
    targets: [
        .target(
            name: "@identifier@",
            dependencies: [.product(name: "KnapPlugin", package: "knap"), .product(name: "CKnap", package: "knap")],
            linkerSettings: [
                // A plugin exports its entry and nothing else, binds to its own symbols, and stays loaded, because
                // Swift's runtime keeps pointers into it.
                .unsafeFlags([
                    "-Xlinker", "--version-script=\(Context.packageDirectory)/knap/exports.map", "-Xlinker", "-Bsymbolic",
                    "-Xlinker", "-z", "-Xlinker", "nodelete",
                ])
            ]),
        .testTarget(name: "@identifier@Tests", dependencies: ["@identifier@"]),
    ])
