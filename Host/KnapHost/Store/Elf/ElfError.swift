/// Why a file is not a shared object that can be a plugin here.
package struct ElfError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable {
        case unreadable, notELF, truncated, wrongClass, wrongByteOrder, foreignMachine, notSharedObject
        case noDynamicSection, corrupt, missingEntry, foreignABI
        case badSignature
    }

    package let code: Code
    package let message: String
    package var description: String { message }
}
