import KnapJSON

/// Why a document is not a schema that can be used.
package struct SchemaError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: Sendable, Hashable { case invalidKeyword, invalidPattern, unresolvedReference, tooDeep }

    package let code: Code
    /// Where in the document, as text: a base URI and a JSON pointer.
    package let pointer: String
    package let message: String

    package var description: String { pointer.isEmpty ? message : "\(pointer): \(message)" }

    init(code: Code, pointer: String, message: String) {
        self.code = code
        self.pointer = pointer
        self.message = message
    }
}

/// One thing about a value that a schema does not allow.
package struct Violation: Sendable, Hashable {
    /// Where in the value.
    package let instance: JSONPointer
    package let keyword: String
    /// What is wrong, what is allowed, and what was probably meant.
    package let message: String
}
