import KnapJSON

/// How long and for whom a client may keep a result (2026-07-28).
package struct CachePolicy: Sendable {
    package var milliseconds: Int

    /// Lists are announced when they change, so they may be kept a while.
    package static let list = CachePolicy(milliseconds: 60_000)
    /// Contents can change without notice.
    package static let never = CachePolicy(milliseconds: 0)
}

/// What the server is called, in both eras.
package struct ServerIdentity: Sendable {
    package var name: String
    package var title: String
    package var version: String

    package init(name: String, title: String, version: String) {
        self.name = name
        self.title = title
        self.version = version
    }
}

extension Envelope {
    /// Gives a result the members that its era demands.
    ///
    /// In the modern era: `resultType`, the server's identity, and where the result is one that can be cached, for how
    /// long. The scope is always private: what a vault holds is for who may read it.
    package func shape(_ result: JSONObject, cache: CachePolicy? = nil, by server: ServerIdentity) -> JSONObject {
        guard isModern else {
            var result = result
            result["resultType"] = nil
            return result
        }
        var shaped: JSONObject = ["resultType": result["resultType"] ?? "complete"]
        for member in result.members { shaped[member.name] = member.value }
        var meta = result["_meta"]?.objectValue ?? JSONObject()
        meta[MetaKey.serverInfo] = ["name": .string(server.name), "version": .string(server.version)]
        shaped["_meta"] = .object(meta)
        if let cache {
            shaped["ttlMs"] = .number(JSONNumber(cache.milliseconds))
            shaped["cacheScope"] = "private"
        }
        return shaped
    }
}
