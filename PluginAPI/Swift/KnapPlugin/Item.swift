import CKnap
import KnapJSON

/// The most bytes that a body may have: of a request, an item or an answer.
public let largestBody = Int(KNAP_BODY_LARGEST)

/// One message of a stream, in either direction.
public struct Item: Sendable, Hashable {
    public enum Kind: UInt32, Sendable, Hashable {
        case data = 1
        /// JSON `{"progress", "total"?, "message"?}`, from the callee. Needs no credit and may be dropped.
        case progress = 2
        /// JSON `{"level", "message", …}`, from the callee. Needs no credit and may be dropped.
        case log = 3
        /// A question to the other end; `id` pairs it with its reply.
        case request = 4
        case reply = 5
    }

    public var kind: Kind
    public var id: UInt64
    public var body: [UInt8]

    public init(_ body: [UInt8], kind: Kind = .data, id: UInt64 = 0) {
        self.kind = kind
        self.id = id
        self.body = body
    }

    public init(_ kind: Kind = .data, id: UInt64 = 0, json: JSON) {
        self.init(Reply(json: json).body, kind: kind, id: id)
    }

    /// The body as UTF-8 text; what is not UTF-8 is replaced.
    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The body as a value, or INVALID_ARGUMENT.
    public func decoded<T: Decodable>(as type: T.Type = T.self) throws(PluginError) -> T {
        try Body.decode(T.self, from: body, of: "The item", code: .invalidArgument)
    }

    var needsCredit: Bool { kind != .progress && kind != .log }

    /// A kind that a later host added is taken as data.
    init(_ item: knap_item_t) {
        self.init([UInt8](item.body), kind: Kind(rawValue: item.kind) ?? .data, id: item.id)
    }

    /// Hands the item to the host, within a use of the link.
    func send(to call: knap_call_t, over link: HostLink) -> knap_status_t {
        body.withBytes { bytes in
            var item = knap_item_t(
                size: UInt32(MemoryLayout<knap_item_t>.size), kind: kind.rawValue, id: id, body: bytes, buffer: nil)
            return link.calls.pointee.send(link.host, call, &item)
        }
    }
}
