import KnapJSON

/// What a client asks: one line.
enum ControlRequest: Equatable {
    case call(method: String, input: JSON, deadlineMS: Int?)
    case attach(method: String, input: JSON)

    /// Fails with what to tell the client.
    init(line: [UInt8]) throws(ControlFailure) {
        let message: JSON
        do {
            message = try JSON.parse(line)
        } catch {
            throw .invalid("the request is not JSON: \(error.message)")
        }
        let input = message["input"] ?? .object([:])
        if let method = message["call"]?.stringValue {
            let deadline = message["deadline_ms"] ?? .null
            guard deadline.isNull || (deadline.intValue ?? 0) > 0 else {
                throw .invalid("`deadline_ms` must be a positive whole number of milliseconds")
            }
            self = .call(method: method, input: input, deadlineMS: deadline.intValue)
        } else if let method = message["attach"]?.stringValue {
            self = .attach(method: method, input: input)
        } else {
            throw .invalid(#"a request is {"call":"service.method","input":…} or {"attach":"service.method"}"#)
        }
    }

    var line: [UInt8] {
        var message = JSONObject()
        switch self {
        case .call(let method, let input, let deadlineMS):
            message["call"] = .string(method)
            message["input"] = input
            message["deadline_ms"] = deadlineMS.map { .number(JSONNumber($0)) }
        case .attach(let method, let input):
            message["attach"] = .string(method)
            message["input"] = input
        }
        return JSON.object(message).line
    }
}

/// Something that a call delivers before its answer.
package struct ControlItem: Sendable, Equatable {
    package enum Kind: String, Sendable { case data, progress, log }

    package let kind: Kind
    package let value: JSON

    package init(kind: Kind, value: JSON) {
        self.kind = kind
        self.value = value
    }

    var line: [UInt8] { JSON.object(["item": value, "kind": .string(kind.rawValue)]).line }
}

/// How a call failed: a status code of gRPC's with its name, and what to tell people.
package struct ControlFailure: Error, Sendable, Equatable {
    package let status: Int
    /// The code's name, for instance `NOT_FOUND`.
    package let code: String
    package let message: String
    package let details: JSON?

    package init(status: Int, code: String, message: String, details: JSON? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.details = details
    }

    static func invalid(_ message: String) -> ControlFailure {
        ControlFailure(status: 3, code: "INVALID_ARGUMENT", message: message)
    }
    static func exhausted(_ message: String) -> ControlFailure {
        ControlFailure(status: 8, code: "RESOURCE_EXHAUSTED", message: message)
    }
}

/// How a call ended.
package enum ControlReply: Sendable, Equatable {
    case result(JSON, contentType: String? = nil)
    case failure(ControlFailure)

    var line: [UInt8] {
        var message = JSONObject()
        switch self {
        case .result(let result, let contentType):
            message["status"] = 0
            message["result"] = result
            message["content_type"] = contentType.map { .string($0) }
        case .failure(let failure):
            message["status"] = .number(JSONNumber(failure.status))
            message["code"] = .string(failure.code)
            message["message"] = .string(failure.message)
            message["details"] = failure.details
        }
        return JSON.object(message).line
    }
}

/// A line from the host, as its client reads it.
enum ControlAnswer: Equatable {
    case item(ControlItem)
    case reply(ControlReply)
    case attached

    init(line: [UInt8]) throws(ControlError) {
        guard let message = try? JSON.parse(line) else { throw .violation("not JSON") }
        if let item = message["item"] {
            // A kind of a later version is data to this one.
            let kind = message["kind"]?.stringValue.flatMap(ControlItem.Kind.init(rawValue:)) ?? .data
            self = .item(ControlItem(kind: kind, value: item))
            return
        }
        guard let status = message["status"]?.intValue else { throw .violation("neither an item nor a status") }
        if status != 0 {
            self = .reply(
                .failure(
                    ControlFailure(
                        status: status, code: message["code"]?.stringValue ?? "UNKNOWN",
                        message: message["message"]?.stringValue ?? "", details: message["details"])))
        } else if message["attached"]?.boolValue == true {
            self = .attached
        } else {
            self = .reply(.result(message["result"] ?? .null, contentType: message["content_type"]?.stringValue))
        }
    }

    static let attachedLine = JSON.object(["status": 0, "attached": true]).line
}

extension JSON {
    /// Compact JSON has no raw newline, so that it is a line.
    fileprivate var line: [UInt8] {
        var bytes: [UInt8] = []
        write(into: &bytes, style: .compact)
        bytes.append(10)
        return bytes
    }
}
