import KnapJSON

/// Session ids that carry what the session begins with, signed, so that a session outlives the process that began it.
///
/// A client that goes on after a restart is served; an id that was not given here, or to somebody else, is unknown.
struct SessionID {
    private let seal: Seal

    init(seal: Seal) { self.seal = seal }

    /// A new id: visible ASCII, unguessable, and no longer than a header's field may be.
    func make(_ facts: Session.Facts, for principal: String) -> String {
        let payload: JSON = [
            "nonce": RequestID.random().json, "revision": (facts.revision?.rawValue).map(JSON.string) ?? .null,
            "capabilities": .object(facts.client.capabilities.known),
        ]
        return seal.close(Array(payload.serialized().utf8), for: Self.purpose(principal))
    }

    /// What the session began with; nil for an id that was not made here for this principal.
    func read(_ id: String, for principal: String) -> Session.Facts? {
        guard let bytes = seal.open(id, for: Self.purpose(principal)), let payload = try? JSON.parse(bytes) else {
            return nil
        }
        return Session.Facts(payload)
    }

    private static func purpose(_ principal: String) -> String { "session " + principal }
}
