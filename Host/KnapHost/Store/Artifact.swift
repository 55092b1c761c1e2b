/// A plugin's file as the host keeps it: checked, copied, and known by its content.
package struct Artifact: Sendable {
    /// SHA-256 of the library, in hexadecimal.
    package let libraryDigest: String
    /// Of library and manifest together: two plugins are the same exactly when this is.
    package let digest: String
    package let manifest: Manifest
    /// The host's own copy.
    package let path: String
    /// What its author should mend.
    package let warnings: [String]
}

/// Why a file is not taken in.
package struct StoreError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        case unreadable, unstable, notAPlugin, noManifest, manifestsDisagree, unwritable, changed
    }

    package let code: Code
    package let message: String
    package var description: String { message }
}
