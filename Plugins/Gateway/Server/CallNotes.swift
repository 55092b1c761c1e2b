import KnapJSON
import Synchronization

/// Turns what a plugin says during a call into the client's notifications.
final class CallNotes: Sendable {
    private let exchange: Exchange
    /// Progress must rise (specification, "Progress flow"), so what does not is dropped.
    private let highest = Mutex<Double>(-.infinity)

    init(exchange: Exchange) { self.exchange = exchange }

    func forward(_ note: BackendNote) async {
        let notification: Notification? =
            switch note {
            case .progress(let body): progress(body)
            case .log(let body): log(body)
            case .data: nil
            }
        if let notification { await exchange.send(.notification(notification)) }
    }

    private func progress(_ body: JSON) -> Notification? {
        guard let token = exchange.envelope.progressToken, let value = body["progress"]?.doubleValue else { return nil }
        let rises = highest.withLock { highest in
            guard value > highest else { return false }
            highest = value
            return true
        }
        guard rises else { return nil }
        var params: JSONObject = ["progressToken": token, "progress": body["progress"] ?? 0]
        params["total"] = body["total"]?.numberValue.map(JSON.number)
        if exchange.envelope.revision >= .march2025 {
            params["message"] = body["message"]?.stringValue.map(JSON.string)
        }
        return Notification("notifications/progress", params)
    }

    private func log(_ body: JSON) -> Notification? {
        let level = LogLevel(note: body["level"]?.stringValue ?? "info")
        guard let wanted = exchange.envelope.logLevel, level >= wanted else { return nil }
        var data = body.objectValue ?? JSONObject()
        data["level"] = nil
        let onlyMessage = data.count == 1 ? data["message"] : nil
        return Notification(
            "notifications/message", ["level": .string(level.rawValue), "data": onlyMessage ?? .object(data)])
    }
}

extension LogLevel {
    /// From the names that Knap's own logs have.
    fileprivate init(note name: String) {
        switch name {
        case "trace": self = .debug
        case "warn": self = .warning
        default: self = LogLevel(rawValue: name) ?? .info
        }
    }
}
