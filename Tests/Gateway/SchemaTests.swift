import Gateway
import KnapHost
import KnapJSON
import TestSupport
import Testing

/// Every message that the server writes, against the schema of the revision it was written for.
@Suite(.enabled(if: TestData.isThere, "KNAP_DATA does not name the test data")) struct SchemaTests {
    private static func schema(_ revision: Revision, _ name: String) throws -> Schema {
        let bytes = try TestData.read(TestData.path("mcp-schema/\(revision.rawValue).json"))
        var document = try #require(try JSON.parse(bytes).objectValue)
        let definitions = document["definitions"] == nil ? "$defs" : "definitions"
        // The older ones are written for draft-07, whose keywords they use mean the same in 2020-12.
        document["$schema"] = nil
        for keyword in ["anyOf", "oneOf", "allOf", "type"] { document[keyword] = nil }
        document["$ref"] = .string("#/\(definitions)/\(name)")
        return try Schema.compile(.object(document))
    }

    /// Requests, and the definition that the result of each has to fit.
    private static let requests: [(method: String, params: String, result: String)] = [
        ("tools/list", "", "ListToolsResult"), ("resources/list", "", "ListResourcesResult"),
        ("resources/templates/list", "", "ListResourceTemplatesResult"), ("prompts/list", "", "ListPromptsResult"),
        ("tools/call", #""name":"read_note""#, "CallToolResult"),
        ("tools/call", #""name":"missing""#, "CallToolResult"),
        ("tools/call", #""name":"rich""#, "CallToolResult"),
        ("tools/call", #""name":"find_tools","arguments":{"query":"note"}"#, "CallToolResult"),
        ("resources/read", #""uri":"note:///a.md""#, "ReadResourceResult"),
        ("prompts/get", #""name":"review","arguments":{"language":"swift"}"#, "GetPromptResult"),
        (
            "completion/complete",
            #""ref":{"type":"ref/prompt","name":"review"},"argument":{"name":"language","value":"o"}"#, "CompleteResult"
        ),
    ]

    @Test(arguments: Revision.allCases)
    func `every result fits the schema of its revision`(revision: Revision) async throws {
        var client = StdioClient()
        let first = revision.isModern ? ("server/discover", "DiscoverResult") : ("initialize", "InitializeResult")
        client.send(
            revision.isModern
                ? modern(0, first.0)
                : #"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"\#(revision.rawValue)"}}"#
        )
        try Self.check(await client.next(), first.1, revision)
        for (index, request) in Self.requests.enumerated() {
            client.send(
                revision.isModern
                    ? modern(index + 1, request.method, request.params)
                    : #"{"jsonrpc":"2.0","id":\#(index + 1),"method":"\#(request.method)","params":{\#(request.params)}}"#
            )
            try Self.check(await client.next(), request.result, revision)
        }
        client.close()
    }

    private static func check(_ message: JSON, _ result: String, _ revision: Revision) throws {
        let envelope = try schema(revision, "JSONRPCMessage").validate(message)
        #expect(envelope.isEmpty, "\(message): \(envelope)")
        let violations = try schema(revision, result).validate(#require(message["result"], "\(message)"))
        #expect(violations.isEmpty, "\(result) of \(revision.rawValue): \(message): \(violations)")
    }

    @Test func `the specification's example requests are read as modern requests`() throws {
        let folder = try TestData.path("mcp-schema/examples")
        let served = Set(RequestMethod.allCases.filter(\.isModern).map(\.rawValue))
        var count = 0
        for file in try TestData.files(in: folder) {
            let bytes = try TestData.read("\(folder)/\(file)")
            guard let method = try JSON.parse(bytes)["method"]?.stringValue, served.contains(method),
                case .request(let request) = try Message.parse(bytes)
            else { continue }
            #expect(Envelope.isModern(request), "\(file)")
            #expect(throws: Never.self, "\(file)") { try Envelope.modern(request) }
            count += 1
        }
        #expect(count >= 8)
    }
}
