import KnapJSON

/// A JSON-RPC error: what a client gets instead of a result.
package struct RPCError: Error, Sendable, Hashable {
    package struct Code: RawRepresentable, Sendable, Hashable {
        package let rawValue: Int
        package init(rawValue: Int) { self.rawValue = rawValue }

        package static let parseError = Code(rawValue: -32700)
        package static let invalidRequest = Code(rawValue: -32600)
        package static let methodNotFound = Code(rawValue: -32601)
        package static let invalidParams = Code(rawValue: -32602)
        package static let internalError = Code(rawValue: -32603)
        /// A session that is unknown or has ended.
        package static let sessionNotFound = Code(rawValue: -32001)
        /// A resource that does not exist, before 2026-07-28.
        package static let resourceNotFound = Code(rawValue: -32002)
        package static let headerMismatch = Code(rawValue: -32020)
        package static let missingClientCapability = Code(rawValue: -32021)
        package static let unsupportedVersion = Code(rawValue: -32022)
        // Outside JSON-RPC's reserved range, as applications' codes have to be.
        /// The call was given up by the host.
        package static let cancelled = Code(rawValue: -32800)
        /// The access token does not cover what was asked for.
        package static let insufficientScope = Code(rawValue: -32801)
    }

    package var code: Code
    package var message: String
    package var data: JSON?

    /// What clients and plugins said is quoted in messages, and may be of any length.
    private static let longestMessage = 4096

    package init(_ code: Code, _ message: String, data: JSON? = nil) {
        self.code = code
        self.message = message.cut(to: Self.longestMessage)
        self.data = data
    }

    /// Reads an error object; nil unless it has a code and a message.
    package init?(_ json: JSON) {
        guard let code = json["code"]?.intValue, let message = json["message"]?.stringValue else { return nil }
        self.init(Code(rawValue: code), message, data: json["data"])
    }

    package var json: JSON {
        var error = JSONObject()
        error["code"] = .number(JSONNumber(code.rawValue))
        error["message"] = .string(message)
        error["data"] = data
        return .object(error)
    }

    /// The HTTP status of the answer. Legacy servers answer 200 to a request they understood; 2026-07-28 gives each code
    /// a status of its own.
    package func status(isModern: Bool) -> Int {
        switch code {
        case .parseError, .invalidRequest: 400
        case .invalidParams, .headerMismatch, .missingClientCapability, .unsupportedVersion: isModern ? 400 : 200
        case .methodNotFound: isModern ? 404 : 200
        case .sessionNotFound: 404
        case .insufficientScope: 403
        default: 200
        }
    }
}

extension RPCError {
    package static func methodNotFound(_ method: String) -> RPCError {
        RPCError(.methodNotFound, "The method \(method) does not exist in this revision of the protocol.")
    }

    package static func unsupportedVersion(_ requested: String) -> RPCError {
        RPCError(
            .unsupportedVersion, "Unsupported protocol version",
            data: ["supported": [.string(Revision.modern.rawValue)], "requested": .string(requested)])
    }

    package static func missingCapabilities(_ missing: JSONObject) -> RPCError {
        let names = missing.names.joined(separator: ", ")
        return RPCError(
            .missingClientCapability, "This needs a client with the capability \(names).",
            data: ["requiredCapabilities": .object(missing)])
    }

    /// A parameter that is missing or of the wrong type.
    package static func parameter(_ name: String, _ requirement: String) -> RPCError {
        RPCError(.invalidParams, "The parameter \(name) \(requirement).")
    }
}

extension String {
    /// The beginning of a text that is too long.
    func cut(to bytes: Int) -> String {
        guard utf8.count > bytes else { return self }
        return String(decoding: utf8.prefix(bytes), as: UTF8.self) + "…"
    }
}
