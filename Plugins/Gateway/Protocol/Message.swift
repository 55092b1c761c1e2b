import KnapJSON

/// One JSON-RPC 2.0 message as a client sends it.
package enum Message: Sendable {
    case request(Request)
    case notification(Notification)
    /// The answer to a request of the server's.
    case response(ClientResponse)
}

/// What a client of the handshake era answers when the server asks it for something.
package struct ClientResponse: Sendable {
    package var id: RequestID?
    package var outcome: Result<JSON, RPCError>
}

/// What the server sends of its own accord while it serves a client.
package enum ServerMessage: Sendable {
    case notification(Notification)
    /// A question, which only clients of the handshake era are asked.
    case request(Request)

    package var json: JSON {
        switch self {
        case .notification(let notification): notification.json
        case .request(let request): request.json
        }
    }

    /// Whether it takes a question back.
    var isWithdrawal: Bool {
        guard case .notification(let notification) = self else { return false }
        return notification.method == "notifications/cancelled"
    }
}

package struct Request: Sendable {
    package var id: RequestID
    package var method: String
    package var params: JSONObject

    package init(id: RequestID, method: String, params: JSONObject = JSONObject()) {
        self.id = id
        self.method = method
        self.params = params
    }

    package var json: JSON {
        ["jsonrpc": "2.0", "id": id.json, "method": .string(method), "params": .object(params)]
    }
}

/// A message that gets no answer, in either direction.
package struct Notification: Sendable, Hashable {
    package var method: String
    package var params: JSONObject

    package init(_ method: String, _ params: JSONObject = JSONObject()) {
        self.method = method
        self.params = params
    }

    package var json: JSON {
        var message: JSONObject = ["jsonrpc": "2.0", "method": .string(method)]
        if !params.isEmpty { message["params"] = .object(params) }
        return .object(message)
    }
}

/// A message that cannot be served, and the id to answer it with; nil, which is written null, where it was unreadable.
package struct Rejection: Error, Sendable {
    package var id: RequestID?
    package var error: RPCError

    package var json: JSON { Response(id: id, .failure(error)).json }
}

/// The answer to a request.
package struct Response: Sendable {
    package var id: RequestID?
    package var outcome: Result<JSONObject, RPCError>

    package init(id: RequestID?, _ outcome: Result<JSONObject, RPCError>) {
        self.id = id
        self.outcome = outcome
    }

    package var isCancelled: Bool { if case .failure(let error) = outcome { error.code == .cancelled } else { false } }

    package var json: JSON {
        var message: JSONObject = ["jsonrpc": "2.0", "id": id?.json ?? .null]
        switch outcome {
        case .success(let result): message["result"] = .object(result)
        case .failure(let error): message["error"] = error.json
        }
        return .object(message)
    }
}

extension Message {
    /// Reads one message. Batches, which only 2025-03-26 had, are refused as the official SDKs do.
    package static func parse(_ bytes: [UInt8]) throws(Rejection) -> Message {
        let json: JSON
        do {
            json = try JSON.parse(hasByteOrderMark(bytes) ? Array(bytes.dropFirst(3)) : bytes, limits: limits)
        } catch {
            throw Rejection(
                id: BrokenMessage.requestID(in: bytes),
                error: RPCError(.parseError, "The message cannot be read as JSON: \(error.message)"))
        }
        guard case .object(let object) = json else {
            let what = json.arrayValue == nil ? "A message is one JSON object." : "Batches are not supported."
            throw Rejection(error: RPCError(.invalidRequest, what))
        }
        return try parse(object)
    }

    /// The largest message of the smallest values would take some gigabytes.
    private static let limits = JSONLimits(maximumValues: 1_000_000)

    /// Some programs begin a stream with one, and a reader may ignore it (RFC 8259, section 8.1).
    private static func hasByteOrderMark(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0xEF, 0xBB, 0xBF]) }

    private static func parse(_ object: JSONObject) throws(Rejection) -> Message {
        let id = RequestID(object["id"])
        func invalid(_ what: String) -> Rejection { Rejection(id: id, error: RPCError(.invalidRequest, what)) }

        guard object["jsonrpc"]?.stringValue == "2.0" else { throw invalid("The member jsonrpc must be \"2.0\".") }
        guard let method = object["method"] else {
            guard let outcome = outcome(object) else { throw invalid("The member method is missing.") }
            return .response(ClientResponse(id: id, outcome: outcome))
        }
        guard let method = method.stringValue else { throw invalid("The member method must be a string.") }
        let params = object["params"] ?? .null
        guard object["id"] != nil else {
            return .notification(Notification(method, params.objectValue ?? JSONObject()))
        }
        guard let id else { throw invalid("The member id must be a string or an integer.") }
        guard params.isNull || params.objectValue != nil else {
            throw Rejection(id: id, error: RPCError(.invalidParams, "The member params must be an object."))
        }
        return .request(Request(id: id, method: method, params: params.objectValue ?? JSONObject()))
    }

    private static func outcome(_ object: JSONObject) -> Result<JSON, RPCError>? {
        if let result = object["result"] { return .success(result) }
        guard let error = object["error"] else { return nil }
        let unsaid = RPCError(.internalError, "The client answered with an error that says nothing.")
        return .failure(RPCError(error) ?? unsaid)
    }
}
