/// The header `WWW-Authenticate`, which tells a client what it lacks (RFC 6750, section 3; RFC 9728, section 5.1).
struct Challenge: Sendable {
    /// Where the issuer and the scopes are named; nil where there is only the static token.
    var metadata: String?
    var scopes: [String] = []
    /// Nil where nothing was shown that could be wrong.
    var error: String?
    var description: String?

    var header: String {
        var parameters: [String] = []
        func add(_ name: String, _ value: String?) {
            if let value { parameters.append("\(name)=\"\(Self.quotable(value))\"") }
        }
        add("error", error)
        add("error_description", description)
        add("scope", scopes.isEmpty ? nil : scopes.joined(separator: " "))
        add("resource_metadata", metadata)
        return parameters.isEmpty ? "Bearer" : "Bearer " + parameters.joined(separator: ", ")
    }

    /// Only what may stand between quotes without an escape.
    private static func quotable(_ text: String) -> String {
        let special = [UInt8(ascii: "\""), UInt8(ascii: "\\")]
        return String(decoding: text.utf8.filter { 0x20...0x7E ~= $0 && !special.contains($0) }, as: UTF8.self)
    }
}
