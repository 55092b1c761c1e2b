import KnapJSON
import TestSupport
import Testing

@testable import KnapHost

/// `Manifests/manifest.schema.json`, which editors use, and the reader, which decides.
@Suite("The published schema of manifests")
struct PublishedSchemaTests {
    private func schema() throws -> Schema {
        let root = "/" + #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        return try Schema.compile(try JSON.parse(TestData.read(root + "/Manifests/manifest.schema.json")))
    }

    @Test("accepts what the reader accepts", arguments: [ManifestExamples.minimal, ManifestExamples.full] + ManifestExamples.good.map { ManifestExamples.minimal(with: $0) })
    func good(text: String) throws {
        #expect(try schema().validate(JSON.parse(text)).map(\.message) == [])
        #expect(throws: Never.self) { try Manifest(Array(text.utf8), file: "plugin.json") }
    }

    @Test("refuses what the reader refuses, as far as a schema can say it")
    func bad() throws {
        let schema = try schema()
        for example in ManifestExamples.bad where example.isInSchema {
            let text = ManifestExamples.minimal(with: example.field)
            guard let json = try? JSON.parse(text) else { continue }
            #expect(!schema.isValid(json), "\(text)")
        }
    }

    @Test("accepts the manifests that Knap ships", arguments: ["gateway", "obsidian"])
    func shipped(name: String) throws {
        let root = "/" + #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        let bytes = try TestData.read("\(root)/Manifests/\(name).json")
        #expect(try schema().validate(JSON.parse(bytes)).map(\.message) == [])
        #expect(try Manifest(bytes, file: name).name == name)
    }
}
