import KnapJSON

/// A session between two generations of the Gateway.
package struct MovedSession: Sendable {
    /// The content type of a call's answer that holds one: the client is not gone, and goes on at the next generation.
    package static let contentType = "application/vnd.knap.moved+json"

    /// How many bytes of its input were dealt with; those after them are sent again.
    package var consumed: Int
    var facts: Session.Facts
    /// The requests `subscriptions/listen` that are open.
    var listening: [JSON]

    package var json: JSON {
        ["consumed": .number(JSONNumber(consumed)), "facts": facts.json, "listening": .array(listening)]
    }

    package init?(_ json: JSON) {
        guard let consumed = json["consumed"]?.intValue else { return nil }
        self.init(
            consumed: consumed, facts: Session.Facts(json["facts"] ?? [:]),
            listening: json["listening"]?.arrayValue ?? [])
    }

    init(consumed: Int, facts: Session.Facts, listening: [JSON]) {
        self.consumed = consumed
        self.facts = facts
        self.listening = listening
    }
}
