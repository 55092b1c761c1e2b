import KnapJSON

/// What a method wants to know again at the next round, as the client carries it (2026-07-28, `requestState`).
///
/// The client's copy is an attacker's input: it is signed, expires, and opens only for the same client and request.
struct RequestState {
    /// In seconds. People are slow to answer; longer than this they have gone.
    static let lifetime = 3600

    private let seal: Seal
    private let purpose: String

    /// - Parameters:
    ///   - principal: Who asks.
    ///   - method: The request's method.
    ///   - subject: What it names, and its arguments.
    init(seal: Seal, principal: String, method: String, subject: JSONObject) {
        self.seal = seal
        let bound: JSON = [.string(principal), .string(method), JSON.object(subject).sorted]
        purpose = "requestState " + bound.serialized()
    }

    func close(_ state: String, now: Instant = .now) -> String {
        let payload: JSON = ["until": .number(JSONNumber(now.seconds + Self.lifetime)), "state": .string(state)]
        return seal.close(Array(payload.serialized().utf8), for: purpose)
    }

    func open(_ sealed: String, now: Instant = .now) throws(RPCError) -> String {
        guard let bytes = seal.open(sealed, for: purpose), let payload = try? JSON.parse(bytes),
            let until = payload["until"]?.intValue, let state = payload["state"]?.stringValue
        else {
            throw RPCError(.invalidParams, "The requestState is not one that this server gave for this request.")
        }
        guard now.seconds <= until else {
            throw RPCError(.invalidParams, "The requestState has expired; send the request anew without it.")
        }
        return state
    }
}

extension JSON {
    /// With the members of all objects in the order of their names, so that the same value has the same text.
    fileprivate var sorted: JSON {
        switch self {
        case .object(let object):
            .object(JSONObject(object.members.sorted { $0.name < $1.name }.map { ($0.name, $0.value.sorted) }))
        case .array(let array): .array(array.map(\.sorted))
        default: self
        }
    }
}
