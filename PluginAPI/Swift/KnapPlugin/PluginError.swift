import CKnap
import KnapJSON

/// Why a call failed: gRPC's canonical codes, with their numbers and meaning. Success is not among them.
public enum StatusCode: Int32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case cancelled = 1
    case unknown = 2
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case aborted = 10
    case outOfRange = 11
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case dataLoss = 15
    case unauthenticated = 16

    /// The code for a status of the ABI; nil for OK. A number from a later host is UNKNOWN.
    init?(status: knap_status_t) {
        guard status != 0 else { return nil }
        self = StatusCode(rawValue: status) ?? .unknown
    }

    /// The canonical name, such as `NOT_FOUND`.
    public var description: String {
        switch self {
        case .cancelled: "CANCELLED"
        case .unknown: "UNKNOWN"
        case .invalidArgument: "INVALID_ARGUMENT"
        case .deadlineExceeded: "DEADLINE_EXCEEDED"
        case .notFound: "NOT_FOUND"
        case .alreadyExists: "ALREADY_EXISTS"
        case .permissionDenied: "PERMISSION_DENIED"
        case .resourceExhausted: "RESOURCE_EXHAUSTED"
        case .failedPrecondition: "FAILED_PRECONDITION"
        case .aborted: "ABORTED"
        case .outOfRange: "OUT_OF_RANGE"
        case .unimplemented: "UNIMPLEMENTED"
        case .internal: "INTERNAL"
        case .unavailable: "UNAVAILABLE"
        case .dataLoss: "DATA_LOSS"
        case .unauthenticated: "UNAUTHENTICATED"
        }
    }
}

/// A failure with a code: what methods throw to their callers, and what calls to other plugins throw.
///
/// Any other error that a method throws reaches its caller as INTERNAL with the error's description, except
/// `CancellationError`, which is CANCELLED.
public struct PluginError: Error, Sendable, Hashable, CustomStringConvertible {
    public var code: StatusCode
    /// What happened, to what, and what to do about it.
    public var message: String
    /// For programs: what a caller needs to react without reading the message.
    public var details: JSON?

    public init(code: StatusCode, message: String, details: JSON? = nil) {
        self.code = code
        self.message = message
        self.details = details
    }

    public var description: String { message.isEmpty ? "\(code)" : "\(code): \(message)" }
}

extension PluginError {
    /// The error for a status that a host function answered; `action` completes "The host refused to …".
    init?(status: knap_status_t, _ action: @autoclosure () -> String) {
        guard let code = StatusCode(status: status) else { return nil }
        self.init(code: code, message: "The host refused to \(action()) (\(code)).")
    }

    /// Throws unless the host answered OK.
    static func check(_ status: knap_status_t, _ action: @autoclosure () -> String) throws(PluginError) {
        if let error = PluginError(status: status, action()) { throw error }
    }

    /// What a method's caller gets for whatever the method threw.
    init(mapping error: any Error, cancellation: StatusCode?) {
        switch error {
        case let error as PluginError: self = error
        case is CancellationError:
            let code = cancellation ?? .cancelled
            self.init(code: code, message: code == .cancelled ? "The call was cancelled." : "The deadline passed.")
        default: self.init(code: .internal, message: String(describing: error))
        }
    }

    static let unloaded = PluginError(code: .unavailable, message: "This plugin instance has been destroyed.")
    static let cancelled = PluginError(code: .cancelled, message: "The task was cancelled.")

    static func missing(_ id: String) -> PluginError {
        PluginError(code: .unimplemented, message: "This host does not offer \(id); a newer host does.")
    }
}
