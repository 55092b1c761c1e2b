import KnapJSON
import Synchronization

/// What a client of the handshake era has said and asked for, for as long as it is connected or its session lasts.
package final class Session: Sendable {
    struct Facts: Sendable {
        /// Nil until `initialize` was answered.
        var revision: Revision?
        var client = ClientIdentity()
        /// Until the client says otherwise.
        var logLevel = LogLevel.info
        /// The addresses whose changes it wants to hear of.
        var subscriptions: Set<String> = []
    }

    /// More subscriptions than this are refused: each is kept and looked up at every change.
    static let maximumSubscriptions = 1024
    /// The same, of their addresses together.
    static let maximumSubscriptionBytes = 64 * 1024

    /// What the server has asked the client and not been told yet.
    let questions = Questions()
    private let state: Mutex<Facts>

    init(_ facts: Facts = Facts()) { state = Mutex(facts) }

    var facts: Facts { state.withLock { $0 } }

    func negotiated(_ revision: Revision, _ client: ClientIdentity) {
        state.withLock { facts in
            facts.revision = revision
            facts.client = client.kept
        }
    }

    func setLogLevel(_ level: LogLevel) { state.withLock { $0.logLevel = level } }

    func subscribe(to uri: String) throws(RPCError) {
        let isFull = state.withLock { facts in
            if facts.subscriptions.contains(uri) { return false }
            let bytes = facts.subscriptions.reduce(uri.utf8.count) { $0 + $1.utf8.count }
            guard facts.subscriptions.count < Self.maximumSubscriptions, bytes <= Self.maximumSubscriptionBytes else {
                return true
            }
            facts.subscriptions.insert(uri)
            return false
        }
        if isFull {
            let (count, bytes) = (Self.maximumSubscriptions, Self.maximumSubscriptionBytes)
            throw RPCError(
                .invalidRequest, "There may be \(count) subscriptions, whose addresses have \(bytes) bytes together; end one first.")
        }
    }

    func unsubscribe(from uri: String) { state.withLock { _ = $0.subscriptions.remove(uri) } }

    func isSubscribed(to uri: String) -> Bool { state.withLock { $0.subscriptions.contains(uri) } }
}

extension Session.Facts {
    var json: JSON {
        var object: JSONObject = [
            "log_level": .string(logLevel.rawValue), "capabilities": .object(client.capabilities.declared),
            "subscriptions": .array(subscriptions.sorted().map(JSON.string)),
        ]
        object["revision"] = revision.map { .string($0.rawValue) }
        object["info"] = client.info
        return .object(object)
    }

    init(_ json: JSON) {
        revision = json["revision"]?.stringValue.flatMap(Revision.init(rawValue:))
        client = ClientIdentity(
            capabilities: ClientCapabilities(json["capabilities"]?.objectValue ?? JSONObject()), info: json["info"])
        logLevel = json["log_level"]?.stringValue.flatMap(LogLevel.init(rawValue:)) ?? .info
        subscriptions = Set((json["subscriptions"]?.arrayValue ?? []).compactMap(\.stringValue))
    }
}
