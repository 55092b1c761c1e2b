import KnapJSON
import TestSupport
import Testing

@testable import KnapHost

@Suite("JSON Schema 2020-12")
struct OfficialSuiteTests {
    @Test("all 1,299 mandatory cases of the official suite have the expected outcome", .enabled(if: TestData.isThere))
    func officialSuite() throws {
        var registry = SchemaRegistry()
        let remotes = try TestData.path("json-schema-2020-12/remotes")
        for file in try TestData.files(in: remotes) where file.hasSuffix(".json") {
            registry.add(try JSON.parse(TestData.read(remotes + "/" + file)), at: "http://localhost:1234/" + file)
        }
        let folder = try TestData.path("json-schema-2020-12/tests/draft2020-12")
        var run = 0
        for file in try TestData.files(in: folder) {
            for group in try JSON.parse(TestData.read(folder + "/" + file)).arrayValue ?? [] {
                let name = "\(file): \(group["description"]?.stringValue ?? "")"
                let schema: Schema
                do {
                    schema = try Schema.compile(try #require(group["schema"]), registry: registry)
                } catch {
                    Issue.record("\(name): \(error)")
                    continue
                }
                for test in group["tests"]?.arrayValue ?? [] {
                    run += 1
                    let instance = try #require(test["data"])
                    let expected = test["valid"]?.boolValue
                    let what = "\(name): \(test["description"]?.stringValue ?? "")"
                    #expect(schema.isValid(instance) == expected, "\(what)")
                    #expect(schema.validate(instance).isEmpty == expected, "\(what): with reasons")
                }
            }
        }
        #expect(run == 1299)
    }

    @Test(
        "a violation says which argument is wrong, what is allowed and what was probably meant",
        arguments: [
            (
                #"{"quary":"x"}"#,
                "has an unknown argument 'quary' (did you mean 'query'?); allowed are limit, query, sort"
            ),
            (#"{}"#, "the argument 'query' is required"),
            (#"{"query":1}"#, "'query' must be string, not the number 1"),
            (#"{"query":"x","limit":0}"#, "'limit' must be at least 1, not 0"),
            (#"{"query":"x","sort":"pathh"}"#, "'sort' must be one of path, size, not 'pathh' (did you mean 'path'?)"),
        ])
    func messages(input: String, expected: String) throws {
        let schema = try Schema.compile(
            JSON.parse(
                #"{"type":"object","additionalProperties":false,"required":["query"],"properties":{"query":{"type":"string"},"limit":{"type":"integer","minimum":1},"sort":{"enum":["path","size"]}}}"#
            ))
        let messages = schema.validate(try JSON.parse(input)).map(\.message)
        #expect(messages.contains { $0.hasSuffix(expected) }, "\(messages)")
    }

    @Test(
        "a hostile schema ends in an error or a violation, never in a crash",
        arguments: [
            ##"{"$ref":"#"}"##, ##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##,
            ##"{"allOf":[{"$ref":"#"}]}"##,
        ])
    func hostileSchemas(text: String) throws {
        let schema = try Schema.compile(JSON.parse(text))
        #expect(!schema.isValid(1))
        #expect(!schema.validate(1).isEmpty)
    }

    @Test("what is not a schema is refused when it is compiled")
    func malformed() throws {
        for text in [
            #"{"type":"strnig"}"#, #"{"pattern":"("}"#, #"{"$ref":"nowhere.json"}"#, "1", #"{"minLength":-1}"#,
        ] {
            #expect(throws: SchemaError.self) { try Schema.compile(JSON.parse(text)) }
        }
    }
}
