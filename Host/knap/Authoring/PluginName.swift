import KnapHost

/// A plugin's name, and what follows from it.
struct PluginName {
    let name: String

    init(_ name: String) throws {
        guard Manifest.isName(name) else {
            throw CommandFailure(
                ExitStatus.usage, "INVALID_NAME",
                "'\(name)' cannot be a plugin's name; use lower-case letters, digits and '-' from a letter on, such as note-quiz, "
                    + "or a domain that is yours, reversed")
        }
        self.name = name
    }

    /// A word that is none of any language's own.
    var identifier: String { String(name.map { $0.isLetter || $0.isNumber ? $0 : "_" }) + "_plugin" }

    /// A service of this plugin's own; a name that is a reversed domain is one already.
    var service: String { name.contains(".") ? name : "com.example.\(name)" }
}
