/// A JSON value (RFC 8259) that keeps what it was given: members in their order, numbers as their text.
///
/// Keeping the text means that `1.0`, `1e400` and a 400-digit integer come out as they came in, which request ids,
/// schema keywords and front matter all need. No Foundation, no reflection, no classes.
public enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

/// A JSON number, kept as the text that was read or that its value was written as.
///
/// Two numbers are equal when they have the same mathematical value (`1`, `1.0` and `10e-1` are equal).
public struct JSONNumber: Sendable {
    /// The number as RFC 8259 §6 writes it.
    public let text: String

    /// A number whose text was already checked by the parser.
    package init(uncheckedText text: String) { self.text = text }

    public init(_ value: some BinaryInteger) { text = String(value) }

    /// Nil for a value that JSON cannot write (infinite or not a number).
    public init?(_ value: Double) {
        guard value.isFinite else { return nil }
        let integral = value.rounded(.towardZero) == value && value.magnitude < 1e15
        text = integral ? String(Int64(value)) : "\(value)"
    }
}

/// The members of a JSON object in the order they were written. A name appears once.
public struct JSONObject: Sendable {
    public typealias Member = (name: String, value: JSON)
    /// In order. Read-only: change members through the subscript.
    public internal(set) var members: [Member] = []
    /// Where each name is; kept only past `JSONObject.indexedFrom` members, where a scan would cost more.
    var index: [MemberName: Int] = [:]
    static let indexedFrom = 12

    public init() {}
}
