import Glibc
import KnapHost
import KnapJSON
import Testing
import TestSupport

@testable import KnapChecking

@Suite struct InputGeneratorTests {
    private static let schemas: [JSON] = [
        ["type": "object"],
        ["type": "object", "properties": ["a": ["type": "string", "minLength": 3, "maxLength": 5]], "required": ["a"], "additionalProperties": false],
        ["type": "object", "properties": ["n": ["type": "integer", "minimum": 1, "maximum": 3], "x": ["type": "number", "exclusiveMinimum": 0]], "required": ["n", "x"]],
        ["type": "array", "items": ["enum": ["red", "green"]], "minItems": 2, "maxItems": 3],
        ["oneOf": [["type": "string", "minLength": 1], ["type": "integer", "multipleOf": 5]]],
        ["allOf": [["type": "object", "properties": ["a": ["const": 1]]], ["required": ["a"]]]],
        ["$ref": "#/$defs/tree", "$defs": ["tree": ["type": "object", "properties": ["left": ["$ref": "#/$defs/tree"], "v": ["type": "boolean"]], "required": ["v"]]]],
        ["type": ["string", "null"], "examples": ["2026-05-31"]],
        ["type": "integer", "minimum": 9_007_199_254_740_991, "maximum": 9_007_199_254_740_991],
    ]

    @Test(arguments: schemas)
    func valuesAreWhatTheSchemaSaysOfThem(schema: JSON) throws {
        let judge = try Schema.compile(schema)
        for seed in UInt64(1)...20 {
            var generator = try InputGenerator(schema, seed: seed)
            let (valid, invalid) = (generator.valid(8), generator.invalid(8))
            #expect(!valid.isEmpty, "seed \(seed)")
            #expect(!invalid.isEmpty, "seed \(seed)")
            #expect(valid.allSatisfy(judge.isValid) && !invalid.contains(where: judge.isValid), "seed \(seed)")
            var again = try InputGenerator(schema, seed: seed)
            #expect(again.valid(8) == valid && again.invalid(8) == invalid, "seed \(seed)")
        }
    }

    @Test func bothBoundsAreAmongThem() throws {
        let length: JSON = ["type": "string", "minLength": 3, "maxLength": 5]
        var generator = try InputGenerator(["type": "object", "properties": ["a": length], "required": ["a"]], seed: 1)
        let sizes = generator.valid(2).compactMap { $0["a"]?.stringValue?.unicodeScalars.count }
        #expect(sizes.contains(5) && sizes.allSatisfy { (3...5).contains($0) })
        var numbers = try InputGenerator(["type": "integer", "minimum": -2, "maximum": 7], seed: 1)
        #expect(numbers.valid(2).compactMap(\.intValue) == [-2, 7])
    }

    @Test func whatIsNoSchemaIsRefused() {
        #expect(throws: SchemaError.self) { try InputGenerator(["type": "nothing"], seed: 1) }
    }
}
