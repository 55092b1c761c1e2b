import KnapPlugin
import Logging

/// What became of the code of generations that ran in this process.
extension Host {
    func left(_ name: String, _ generation: Int, _ residence: Residence) {
        records[name]?.left = (generation, residence)
        logger.info(
            "generation ended",
            metadata: ["plugin": .string(name), "generation": "\(generation)", "code": .string(residence.description)])
    }

    /// How much old generations of Swift plugins may leave here; the operator's settings `host.swift_conformances` and
    /// `host.swift_megabytes`.
    var swiftBudget: SwiftBudget {
        SwiftBudget(
            conformances: setting("swift_conformances", in: 0...1_000_000_000),
            bytes: setting("swift_megabytes", in: 0...1 << 20) << 20)
    }

    /// A number of the host's own configuration.
    nonisolated func setting(_ key: String, in range: ClosedRange<Int>) -> Int {
        guard let manifest = try? HostManifest.manifest() else { return range.lowerBound }
        let settings = (try? configurationStore.configuration(for: manifest)) ?? manifest.configuration.defaults
        return min(max(range.lowerBound, settings[key]?.intValue ?? range.lowerBound), range.upperBound)
    }
}

extension Manifest {
    /// Why the host may still call the plugin's code after its end; nil when it does not.
    var reasonToStay: String? {
        if permissions.observes || permissions.intercepts { return "it takes part in every call, and calls in flight may know it" }
        return permissions.connect.isEmpty ? nil : "it makes connections, of which it is told whenever they are made"
    }
}
