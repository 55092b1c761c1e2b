import KnapPlugin

extension Method<Conformance> {
    /// A method whose answer is the MCP result itself.
    static func result<In: Input>(
        _ name: String, _ method: @escaping @Sendable (Conformance) -> (In, Call) async throws -> JSON
    ) -> Method {
        .call("conformance.\(name)") { (plugin: Conformance) in
            { (input: In, call: Call) async throws -> Reply in
                Reply(json: try await method(plugin)(input, call), contentType: "application/vnd.knap.mcp-result+json")
            }
        }
    }

    /// A method that always answers with the same blocks.
    static func content(_ name: String, _ blocks: JSON...) -> Method {
        let answer: JSON = ["content": .array(blocks)]
        return .result(name) { _ in { (_: Empty, _: Call) in answer } }
    }

    /// A method whose answer is a value that the Gateway shapes.
    static func value<In: Input>(
        _ name: String, _ method: @escaping @Sendable (Conformance) -> (In, Call) async throws -> JSON
    ) -> Method {
        .call("conformance.\(name)", method)
    }
}

extension JSON {
    static func text(_ text: String) -> JSON { ["type": "text", "text": .string(text)] }

    /// A tool's result that is one text.
    static func said(_ text: String, isError: Bool = false) -> JSON {
        isError ? ["content": [.text(text)], "isError": true] : ["content": [.text(text)]]
    }

    static func image(_ data: String) -> JSON { ["type": "image", "data": .string(data), "mimeType": "image/png"] }
    static func audio(_ data: String) -> JSON { ["type": "audio", "data": .string(data), "mimeType": "audio/wav"] }

    static func embedded(_ uri: String, _ mimeType: String, text: String) -> JSON {
        ["type": "resource", "resource": .contents(uri, mimeType, text: text)]
    }

    static func contents(_ uri: String, _ mimeType: String, text: String) -> JSON {
        ["uri": .string(uri), "mimeType": .string(mimeType), "text": .string(text)]
    }
}

/// Files of the smallest size that is one.
enum Sample {
    /// One transparent pixel.
    static let png =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    /// No sample at all, at 44.1 kHz.
    static let wav = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="
}
