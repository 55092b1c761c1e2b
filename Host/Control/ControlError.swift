import Glibc

/// Why the control socket could not be used. What a call itself answers is a `ControlReply`, not an error.
package struct ControlError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// Nobody listens: no socket, or one that a killed host left.
        case notRunning
        case denied
        /// The other side ended the connection before it answered.
        case closed
        case timedOut
        /// Whoever wanted the answer has ended.
        case unwanted
        /// The other side sent what the protocol does not allow.
        case protocolViolation
        case system(errno: Int32)
    }

    package let code: Code
    package let message: String

    package var description: String { message }

    static func system(_ number: Int32, _ action: String, _ path: String) -> ControlError {
        switch number {
        case ENOENT, ECONNREFUSED:
            ControlError(code: .notRunning, message: "no host listens on \(path): start one with `knap serve`")
        case EACCES, EPERM:
            ControlError(code: .denied, message: "cannot \(action) \(path): it belongs to another user")
        default:
            ControlError(
                code: .system(errno: number), message: "cannot \(action) \(path): \(String(cString: strerror(number)))")
        }
    }

    static let closed = ControlError(
        code: .closed, message: "the host closed the connection before it answered; `knap doctor` may tell why")

    static func timedOut(after milliseconds: Int) -> ControlError {
        ControlError(code: .timedOut, message: "the host did not answer within \(milliseconds) ms")
    }

    package static let unwanted = ControlError(code: .unwanted, message: "the program that wanted the answer has ended")

    static func violation(_ what: String) -> ControlError {
        ControlError(
            code: .protocolViolation,
            message: "the host's answer makes no sense (\(what)): is it another version of Knap?")
    }
}
