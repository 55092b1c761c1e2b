import CKnap
import KnapPlugin

/// One running plugin. Two may live at the same time, so there are no globals.
public final class Words: Plugin {
    // As in manifest.json.
    public static let name = "@name@", version = "0.1.0"
    public static let methods: [Method<Words>] = [.call("@service@.count_words", countWords)]

    public init(host: PluginHost) {}

    struct Input: Codable, Sendable {
        var text: String
    }

    struct Count: Codable, Sendable {
        var words: Int
    }

    /// Serves @service@.count_words. May run on several threads at once.
    func countWords(_ input: Input, _ call: Call) async throws -> Count { Count(words: Self.words(in: input.text)) }

    static func words(in text: String) -> Int { text.split(whereSeparator: \.isWhitespace).count }
}

@c(knap_plugin_draft) public func entry() -> UnsafePointer<knap_plugin_t>? { exportPlugin(Words.self) }
