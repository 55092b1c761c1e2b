import KnapJSON

/// All that is wrong with a manifest.
package struct ManifestError: Error, Sendable, CustomStringConvertible {
    /// One thing that is wrong, where, and what is allowed instead.
    package struct Problem: Sendable, Hashable, CustomStringConvertible {
        package enum Code: String, Sendable {
            case notJSON, missingField, unknownField, wrongType, outOfRange, malformed, duplicate, contradiction
        }

        package let code: Code
        package let file: String
        package let position: JSONPosition?
        package let pointer: JSONPointer
        package let message: String

        /// `file:line:column: /pointer: message`, which editors can jump to.
        package var description: String {
            let place = position.map { "\(file):\($0.line):\($0.column)" } ?? file
            let pointer = pointer.description
            return pointer.isEmpty ? "\(place): \(message)" : "\(place): \(pointer): \(message)"
        }
    }

    /// Never empty; in the order of the reader's fields.
    package let problems: [Problem]

    package var description: String { problems.map(\.description).joined(separator: "\n") }
}
