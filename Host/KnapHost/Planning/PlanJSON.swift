import KnapJSON

/// What `knap plan --json` prints.
extension Plan {
    package var json: JSON {
        [
            "stops": Self.waves(stops),
            "starts": Self.waves(starts),
            "kept": .array(kept.map { .string($0) }),
            "providers": .object(JSONObject(providers.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })),
            "omissions": .array(omissions.map(\.json)),
            "notes": .array(notes.map { .string($0) }),
        ]
    }

    private static func waves(_ waves: [[Step]]) -> JSON { .array(waves.map { .array($0.map(\.json)) }) }
}

extension Step {
    package var json: JSON {
        var object: JSONObject = [
            "plugin": .string(plugin), "version": .string(version.description), "identity": .string(identity),
            "source": .string(source), "isolation": .string(isolation.rawValue),
        ]
        switch action {
        case .start: object["action"] = "start"
        case .replace(let old):
            object["action"] = "replace"
            object["old_version"] = .string(old.description)
        case .stop(let reason):
            object["action"] = "stop"
            object["reason"] = .string(reason)
        }
        return .object(object)
    }
}

extension Omission {
    package var json: JSON {
        var object: JSONObject = ["plugin": .string(plugin)]
        if let version { object["version"] = .string(version.description) }
        if !source.isEmpty { object["source"] = .string(source) }
        object["code"] = .string(code.rawValue)
        object["message"] = .string(message)
        if !chain.isEmpty { object["chain"] = .array(chain.map { .string($0) }) }
        if let stillRunning { object["still_running"] = .string(stillRunning.description) }
        return .object(object)
    }
}
