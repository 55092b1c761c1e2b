import KnapCallEngine
import KnapJSON

extension Party {
    /// What became of its calls, for `knap plugins info`.
    var json: JSON {
        let counts = counts
        let number = { (count: UInt64) in JSON.number(JSONNumber(count)) }
        var object: JSONObject = [
            "admitted": number(counts.entered), "in_flight": number(counts.in_flight), "queued": number(counts.queued),
            "waited": number(counts.waited), "refused": number(counts.refused), "late": number(counts.late),
            "misused": number(counts.misused), "retried": number(counts.retried),
            "retries_denied": number(counts.retries_denied), "fell_back": number(counts.fell_back),
            "stood_in": number(counts.stood_in), "breaker": .string(counts.breaker.name),
            "breaker_opened": number(counts.breaker_opened),
            "failed": [
                "caller": number(counts.failed_caller), "transient": number(counts.failed_transient),
                "permanent": number(counts.failed_permanent), "plugin": number(counts.failed_plugin),
                "overload": number(counts.failed_overload),
            ],
        ]
        if counts.breaker_open_ns > 0 { object["breaker_open_for_ms"] = number(counts.breaker_open_ns / 1_000_000) }
        return .object(object)
    }
}

extension knap_breaker_state_t {
    fileprivate var name: String {
        switch self {
        case KNAP_BREAKER_OPEN: "open"
        case KNAP_BREAKER_HALF_OPEN: "half-open"
        default: "closed"
        }
    }
}
