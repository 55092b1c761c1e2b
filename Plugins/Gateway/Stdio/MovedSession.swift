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
    /// The lists as the client knows them.
    var lists: ListDigests?
    /// Changes that it has not been told of.
    var untold = Changes()

    package var json: JSON {
        [
            "consumed": .number(JSONNumber(consumed)), "facts": facts.json, "listening": .array(listening),
            "lists": lists?.json ?? .null, "untold": untold.json,
        ]
    }

    package init?(_ json: JSON) {
        guard let consumed = json["consumed"]?.intValue else { return nil }
        self.init(
            consumed: consumed, facts: Session.Facts(json["facts"] ?? [:]),
            listening: json["listening"]?.arrayValue ?? [], lists: ListDigests(json["lists"]),
            untold: Changes(json["untold"]))
    }

    init(consumed: Int, facts: Session.Facts, listening: [JSON], lists: ListDigests?, untold: Changes) {
        self.consumed = consumed
        self.facts = facts
        self.listening = listening
        self.lists = lists
        self.untold = untold
    }
}
