import KnapJSON

/// A JSON-RPC error: what a client gets instead of a result.
package struct RPCError: Error, Sendable, Hashable {
    package enum Code: Int, Sendable, Hashable {
        case parseError = -32700
        case invalidRequest = -32600
        case methodNotFound = -32601
        case invalidParams = -32602
        case internalError = -32603
        /// A resource that does not exist, before 2026-07-28.
        case resourceNotFound = -32002
        case headerMismatch = -32020
        case missingClientCapability = -32021
        case unsupportedVersion = -32022
        /// The call was given up by the host. Outside JSON-RPC's reserved range, as applications' codes have to be.
        case cancelled = -32800
    }

    package var code: Code
    package var message: String
    package var data: JSON?

    package init(_ code: Code, _ message: String, data: JSON? = nil) {
        self.code = code
        self.message = message
        self.data = data
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
        case .internalError, .resourceNotFound, .cancelled: 200
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

    /// A parameter that is missing or of the wrong type.
    package static func parameter(_ name: String, _ requirement: String) -> RPCError {
        RPCError(.invalidParams, "The parameter \(name) \(requirement).")
    }
}
