import KnapJSON

/// The way from a session to the methods behind the catalog. The plugin's goes through the host; a test's is in memory.
///
/// One backend serves one session: on whose behalf its calls run is known to it and never said by the client.
package protocol Backend: Sendable {
    /// On whose behalf calls run, and what may be called.
    var caller: Caller { get }

    /// The same, but not bound to the connection: what is called goes on when the client has gone.
    var detached: any Backend { get }

    /// Calls `service.method`. Progress and log messages are handed over as they come, before the answer. Cancelling the
    /// calling task cancels the call.
    func call(_ call: BackendCall, onNote: @escaping @Sendable (BackendNote) async -> Void) async throws(CallFailure)
        -> BackendReply

    /// Returns when the plugins that are starting have started, or given up.
    ///
    /// The first lists wait for this, a bounded time: many clients read a list once and never again.
    func settled() async
}

extension Backend {
    package var principal: String { caller.principal }
}

package struct BackendCall: Sendable {
    package var method: String
    package var body: [UInt8]
    package var trace: String?

    package init(method: String, body: [UInt8], trace: String? = nil) {
        self.method = method
        self.body = body
        self.trace = trace
    }

    package init(_ method: String, _ input: JSON = [:], trace: String? = nil) {
        var body: [UInt8] = []
        input.write(into: &body)
        self.init(method: method, body: body, trace: trace)
    }
}

package enum BackendNote: Sendable {
    case progress(JSON)
    case log(JSON)
    /// One item of the method's own stream.
    case data([UInt8])
}

package struct BackendReply: Sendable {
    package static let result = "application/vnd.knap.mcp-result+json"

    package var body: [UInt8]
    /// Nil means JSON.
    package var contentType: String?

    package init(body: [UInt8], contentType: String? = nil) {
        self.body = body
        self.contentType = contentType
    }

    package init(_ json: JSON, contentType: String? = nil) {
        var body: [UInt8] = []
        json.write(into: &body)
        self.init(body: body, contentType: contentType)
    }

    func json(from method: String) throws(CallFailure) -> JSON {
        do {
            return body.isEmpty ? [:] : try JSON.parse(body)
        } catch {
            throw CallFailure(.internal, "\(method) answered with what is not JSON: \(error.message)")
        }
    }
}

/// Why a call to a plugin failed: gRPC's canonical codes.
package struct CallFailure: Error, Sendable {
    package enum Code: String, Sendable, CaseIterable {
        case cancelled = "CANCELLED"
        case unknown = "UNKNOWN"
        case invalidArgument = "INVALID_ARGUMENT"
        case deadlineExceeded = "DEADLINE_EXCEEDED"
        case notFound = "NOT_FOUND"
        case alreadyExists = "ALREADY_EXISTS"
        case permissionDenied = "PERMISSION_DENIED"
        case resourceExhausted = "RESOURCE_EXHAUSTED"
        case failedPrecondition = "FAILED_PRECONDITION"
        case aborted = "ABORTED"
        case outOfRange = "OUT_OF_RANGE"
        case unimplemented = "UNIMPLEMENTED"
        case `internal` = "INTERNAL"
        case unavailable = "UNAVAILABLE"
        case dataLoss = "DATA_LOSS"
        case unauthenticated = "UNAUTHENTICATED"
    }

    package var code: Code
    package var message: String
    package var details: JSON?

    package init(_ code: Code, _ message: String, details: JSON? = nil) {
        self.code = code
        self.message = message
        self.details = details
    }
}
