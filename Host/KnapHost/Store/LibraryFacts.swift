import KnapJSON

extension InspectedLibrary {
    /// The symbols that it wants of other libraries.
    package var imports: Set<String> { image.imports }

    /// What can be known of a plugin without running it, for `knap plugins inspect`.
    package var facts: JSON {
        var facts: JSONObject = [
            "file": .string(path), "name": .string(manifest.name), "version": .string("\(manifest.version)"),
            "description": .string(manifest.description), "digest": .string("\(digest)"),
        ]
        facts["signed_by"] = .array(
            signatures.map { ["fingerprint": .string("\($0.key.fingerprint)"), "fits": .bool($0.isValid)] })
        facts["language"] = .string(language)
        facts["isolations"] = .array(manifest.isolations.map { .string($0.rawValue) })
        facts["services"] = .array(manifest.provides.map { .string("\($0.service) \($0.version)") })
        facts["requires"] = .array(manifest.requires.map { .string("\($0)") })
        facts["contributes"] = .array(manifest.contributes.map { .string($0.point) })
        if let json = try? JSON.parse(source.bytes) {
            facts["permissions"] = json["permissions"]
            facts["manifest"] = json
        }
        facts["library"] = [
            "size": .number(JSONNumber(layout.librarySize)), "mapped": .number(JSONNumber(image.loadedBytes)),
            "needs": .array(image.needed.map { .string($0) }),
            "exports": .array(image.exports.map(\.name).sorted().map { .string($0) }),
            "stays_loaded": .bool(image.isNeverUnloaded || !image.exports.allSatisfy { !$0.isUnique }),
        ]
        facts["files_with_it"] = companions.map { .array($0.libraries.map { .string($0.name) }) }
        facts["warnings"] = .array(warnings.map { .string($0) })
        return .object(facts)
    }

    /// As the manifest says, or else as the library's sections and what it needs show.
    private var language: String {
        if let language = manifest.toolchain?.language { return "\(language)" }
        let runtimes = image.runtimes.map(\.rawValue).sorted()
        return runtimes.isEmpty ? "c" : runtimes.joined(separator: ", ")
    }
}
