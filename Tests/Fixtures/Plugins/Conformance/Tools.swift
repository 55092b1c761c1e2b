import KnapPlugin

/// Tools that answer without asking anything.
extension Conformance {
    static let tools: [Method<Conformance>] = [
        .call("conformance.test_simple_text", simpleText),
        .content("test_image_content", .image(Sample.png)),
        .content("test_audio_content", .audio(Sample.wav)),
        .content(
            "test_embedded_resource",
            .embedded("test://embedded-resource", "text/plain", text: "This is an embedded resource content.")),
        .content(
            "test_multiple_content_types", .text("Multiple content types test:"), .image(Sample.png),
            .embedded("test://mixed-content-resource", "application/json", text: #"{"test":"data","value":123}"#)),
        .result("test_error_handling", errorHandling),
        .result("test_tool_with_logging", withLogging),
        .result("test_logging_tool", logging),
        .result("test_tool_with_progress", withProgress),
        .content("test_missing_capability", .text("The client can sample.")),
        .content("json_schema_2020_12_tool", .text("The arguments fit the schema.")),
        .result("test_header_params", headerParams),
        .result("test_reconnection", reconnection),
    ]

    /// As plain text, which becomes the same result.
    func simpleText(_ input: Empty, _ call: Call) async throws -> Reply {
        Reply(Array("This is a simple text response for testing.".utf8), contentType: "text/plain")
    }

    func errorHandling(_ input: Empty, _ call: Call) async throws -> JSON {
        .said("This tool intentionally returns an error for testing", isError: true)
    }

    /// Between notifications, so that each goes out before the next is made.
    static let pause = Duration.milliseconds(50)

    func withLogging(_ input: Empty, _ call: Call) async throws -> JSON {
        call.log(.info, "Tool execution started")
        try await host.timers.sleep(for: Self.pause)
        call.log(.info, "Tool processing data")
        try await host.timers.sleep(for: Self.pause)
        call.log(.info, "Tool execution completed")
        return .said("Tool with logging executed successfully")
    }

    /// One record of each level.
    func logging(_ input: Empty, _ call: Call) async throws -> JSON {
        for level in LogLevel.allCases { call.log(level, "A record of the level \(level)") }
        return .said("Logged.")
    }

    func withProgress(_ input: Empty, _ call: Call) async throws -> JSON {
        for done in [0.0, 50, 100] {
            if done > 0 { try await host.timers.sleep(for: Self.pause) }
            call.progress(done, of: 100, "Completed step \(Int(done)) of 100")
        }
        return .said("Tool with progress executed successfully")
    }

    struct HeaderParams: Decodable {
        var region: String
        var retries: Int?
    }

    func headerParams(_ params: HeaderParams, _ call: Call) async throws -> JSON {
        .said("region=\(params.region)" + (params.retries.map { ", retries=\($0)" } ?? ""))
    }

    /// Takes long enough for a client to lose the stream meanwhile and to come back.
    func reconnection(_ input: Empty, _ call: Call) async throws -> JSON {
        try await host.timers.sleep(for: .milliseconds(100))
        return .said("Reconnection test completed successfully.")
    }
}
