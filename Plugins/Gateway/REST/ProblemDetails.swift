import HTTPTypes
import KnapJSON

/// Why a request over REST failed, as `application/problem+json` (RFC 9457).
///
/// The members beyond the standard's are `code`, one of gRPC's canonical names, and `details`, what the method says to
/// programs.
package struct ProblemDetails: Error, Sendable {
    package static let contentType = "application/problem+json"

    package var status: Int
    /// What happened and what to do about it.
    package var detail: String
    package var code: CallFailure.Code?
    package var details: JSON?
    /// For the header `Allow`.
    var allow: String?
    /// In seconds.
    var retryAfter: Int?
    /// For the header `WWW-Authenticate`.
    var challenge: String?

    package init(status: Int, _ detail: String, code: CallFailure.Code? = nil, details: JSON? = nil) {
        self.status = status
        self.detail = detail
        self.code = code
        self.details = details
    }

    /// The failure of a call.
    package init(_ failure: CallFailure) {
        let detail = failure.message.isEmpty ? "The call failed." : failure.message
        self.init(status: failure.code.httpStatus, detail, code: failure.code, details: failure.details)
        let pause = failure.details?["retry_after_ms"]?.intValue.map { max(1, ($0 - 1) / 1000 + 1) }
        switch failure.code {
        case .unavailable: retryAfter = pause ?? 1
        case .resourceExhausted: retryAfter = pause
        default: break
        }
    }

    /// An error that a method put into an MCP result.
    init(_ error: RPCError) {
        switch error.code {
        case .missingClientCapability: self = .unanswerable(error.message)
        case .invalidParams: self.init(CallFailure(.invalidArgument, error.message, details: error.data))
        case .cancelled: self.init(CallFailure(.cancelled, error.message, details: error.data))
        default: self.init(CallFailure(.internal, error.message, details: error.data))
        }
    }

    /// A use that no scope of the caller covers.
    static func forbidden(_ error: RPCError) -> ProblemDetails {
        var problem = ProblemDetails(status: 403, error.message, code: .permissionDenied, details: error.data)
        problem.challenge = error.challenge?.header
        return problem
    }

    static func badRequest(_ detail: String) -> ProblemDetails { ProblemDetails(CallFailure(.invalidArgument, detail)) }

    static func notFound(_ detail: String, nearest: String? = nil) -> ProblemDetails {
        guard let nearest else { return ProblemDetails(CallFailure(.notFound, detail)) }
        return ProblemDetails(
            CallFailure(.notFound, "\(detail) Did you mean \(nearest)?", details: ["nearest": .string(nearest)]))
    }

    static func notAllowed(_ methods: [HTTPRequest.Method]) -> ProblemDetails {
        let allow = methods.map(\.rawValue).joined(separator: ", ")
        var problem = ProblemDetails(status: 405, "This address takes \(allow).")
        problem.allow = allow
        return problem
    }

    /// What only a client of MCP can have answered: the request was understood, and will never be carried out here.
    static func unanswerable(_ detail: String) -> ProblemDetails {
        ProblemDetails(status: 422, detail, code: .failedPrecondition)
    }

    package var json: JSON {
        var members: JSONObject = [
            "title": .string(title), "status": .number(JSONNumber(status)), "detail": .string(detail),
        ]
        members["code"] = code.map { .string($0.rawValue) }
        members["details"] = details.flatMap { $0.isNull ? nil : $0 }
        return .object(members)
    }

    /// The status in words, as its type `about:blank` demands (section 4.2.1).
    private var title: String { Self.titles[status] ?? "Failed" }

    private static let titles: [Int: String] = {
        let known: [HTTPResponse.Status] = [
            .badRequest, .unauthorized, .forbidden, .notFound, .methodNotAllowed, .conflict, .contentTooLarge,
            .unsupportedMediaType, .unprocessableContent, .tooManyRequests, .internalServerError, .notImplemented,
            .serviceUnavailable, .gatewayTimeout,
        ]
        let titles = known.map { ($0.code, $0.reasonPhrase) } + [(499, "Client Closed Request")]
        return Dictionary(uniqueKeysWithValues: titles)
    }()

    var answer: Answer {
        var fields: [(HTTPField.Name, String)] = [(.cacheControl, "no-store")]
        if let allow { fields.append((.allow, allow)) }
        if let retryAfter { fields.append((.retryAfter, String(retryAfter))) }
        if let challenge { fields.append((.wwwAuthenticate, challenge)) }
        var answer = Answer.json(json, status: status, fields: fields)
        answer.type = Self.contentType
        return answer
    }
}

extension CallFailure.Code {
    /// As google.rpc.Code maps the canonical codes, and 499 as nginx calls a client that has gone.
    package var httpStatus: Int {
        switch self {
        case .invalidArgument, .outOfRange: 400
        // Not 412, which is about the conditional headers of a request (RFC 9110, section 13).
        case .failedPrecondition: 400
        case .unauthenticated: 401
        case .permissionDenied: 403
        case .notFound: 404
        case .alreadyExists, .aborted: 409
        case .resourceExhausted: 429
        case .cancelled: 499
        case .unknown, .internal, .dataLoss: 500
        case .unimplemented: 501
        case .unavailable: 503
        case .deadlineExceeded: 504
        }
    }
}

extension Answer {
    /// A refusal in words, in the form that callers of REST read.
    var asProblem: Answer {
        var problem = ProblemDetails(status: status, String(decoding: body, as: UTF8.self).trimmingEnd).answer
        problem.fields += fields
        return problem
    }
}

extension String {
    fileprivate var trimmingEnd: String {
        var text = self
        while text.last?.isNewline == true { text.removeLast() }
        return text
    }
}
