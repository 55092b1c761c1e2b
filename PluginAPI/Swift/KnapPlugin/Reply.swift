import KnapJSON

/// The answer to a call as bytes, with their content type.
///
/// A typed method that returns a `Reply` chooses its content type itself, such as
/// `application/vnd.knap.mcp-result+json`.
public struct Reply: Sendable, Hashable {
    public var body: [UInt8]
    /// Nil: what the manifest says of the method, JSON by default.
    public var contentType: String?

    public init(_ body: [UInt8] = [], contentType: String? = nil) {
        self.body = body
        self.contentType = contentType
    }

    public init(json: JSON, contentType: String? = nil) {
        var body: [UInt8] = []
        json.write(into: &body)
        self.init(body, contentType: contentType)
    }

    /// The body as UTF-8 text; what is not UTF-8 is replaced.
    public var text: String { String(decoding: body, as: UTF8.self) }
}

/// An object without members: the input or output of methods that have none.
public struct Empty: Codable, Sendable, Hashable {
    public init() {}
}

/// How values become bodies and bodies become values.
enum Body {
    /// Reads a body. `[UInt8]` gets it as it is and `JSON` as it parses; an empty body reads as an object without
    /// members, so that a method whose input is all optional can be called with nothing.
    static func decode<T: Decodable>(_ type: T.Type, from body: [UInt8], of what: String, code: StatusCode)
        throws(PluginError) -> T
    {
        if T.self == [UInt8].self, let bytes = body as? T { return bytes }
        let json: JSON
        do {
            json = body.isEmpty ? .object(JSONObject()) : try JSON.parse(body)
        } catch {
            throw PluginError(code: code, message: "\(what) is not JSON: \(error)")
        }
        if T.self == JSON.self, let json = json as? T { return json }
        do {
            return try json.decoded(as: T.self)
        } catch {
            throw PluginError(code: code, message: "\(what) does not fit: \(error)")
        }
    }

    static func encode<T: Encodable>(_ value: T) throws -> [UInt8] {
        var bytes: [UInt8] = []
        let json = T.self == JSON.self ? value as? JSON : nil
        try (json ?? JSON.encoding(value)).write(into: &bytes)
        return bytes
    }
}
