import Glibc
import KnapJSON

/// Why a file did not become an artifact, or an artifact cannot be loaded.
package struct StoreError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// The file or the store could not be read or written: the same content may do later.
        case input, output, notStable
        /// The content is bad and will be for ever.
        case notAPlugin, noManifest, badManifest, manifestsDiffer, badSignature, tooLarge
        /// What is in the store is no longer what was put there.
        case corrupted
        /// The content was found bad before.
        case rejectedBefore
    }

    package let code: Code
    package let message: String
    package var description: String { message }

    /// Trying again with the same bytes gives the same answer.
    package var isFinal: Bool {
        switch code {
        case .input, .output, .notStable: false
        case .notAPlugin, .noManifest, .badManifest, .manifestsDiffer, .badSignature, .tooLarge: true
        case .corrupted, .rejectedBefore: true
        }
    }

    /// A system call failed: `what` it was for, in words.
    static func system(_ code: Code, _ what: String, _ path: String, errno number: CInt = errno) -> StoreError {
        let advice =
            switch number {
            case ENOSPC: "; the disk is full: make room"
            case EROFS: "; the file system is read-only: choose another state directory"
            case EACCES, EPERM: "; allow it or choose another place"
            default: ""
            }
        return StoreError(code: code, message: "\(path): \(what): \(String(cString: strerror(number)))\(advice)")
    }
}
