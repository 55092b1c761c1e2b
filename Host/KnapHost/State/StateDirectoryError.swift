import Glibc

/// Why a state directory cannot be used, and what to do about it.
package struct StateDirectoryError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// Another host has it; with its process id when that is known.
        case inUse(pid: Int32?)
        case readOnly
        case full
        case denied
        case notADirectory
        case failed(errno: Int32)
    }

    package let code: Code
    package let path: String
    package let message: String

    package var description: String { message }

    static func inUse(by pid: Int32?, path: String) -> StateDirectoryError {
        let holder = pid.map { "the host with process id \($0)" } ?? "another host"
        return StateDirectoryError(
            code: .inUse(pid: pid), path: path,
            message:
                "the state directory \(path) is in use by \(holder): join or stop that one, or choose another with --state"
        )
    }

    /// - Parameter action: what was tried, as in "cannot ACTION PATH".
    static func system(_ number: Int32, _ action: String, _ path: String) -> StateDirectoryError {
        let (code, advice): (Code, String) =
            switch number {
            case EROFS: (.readOnly, "the file system is read-only: choose another place with --state")
            case ENOSPC, EDQUOT: (.full, "the disk is full: free some space, or choose another place with --state")
            case EACCES, EPERM: (.denied, "permission denied: make it yours, or choose another place with --state")
            case ENOTDIR: (.notADirectory, "a part of this path is not a directory")
            default: (.failed(errno: number), String(cString: strerror(number)))
            }
        return StateDirectoryError(code: code, path: path, message: "cannot \(action) \(path): \(advice)")
    }
}
