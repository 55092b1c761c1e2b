/// The path of a file in a vault: relative, `/` between its parts, nothing hidden, never out of the vault.
///
/// Made from text that may come from anybody; what a path like `../../etc/passwd` or `a/\0` gets is an error that says
/// what is wrong with it.
struct VaultPath: Hashable, Sendable, Comparable, CustomStringConvertible {
    let text: String

    init(_ text: String, argument: String = "path") throws(VaultError) {
        let trimmed = text.hasPrefix("/") ? String(text.dropFirst()) : text
        func refuse(_ why: String) -> VaultError {
            VaultError(.invalidArgument, "\(argument) '\(text)' \(why); give a path inside the vault, such as Folder/Note.md")
        }
        guard !trimmed.isEmpty else { throw refuse("is empty") }
        guard trimmed.utf8.count <= 4000 else { throw refuse("is too long") }
        for part in trimmed.split(separator: "/", omittingEmptySubsequences: false) {
            if part.isEmpty { throw refuse("has an empty part") }
            if part == ".." { throw refuse("climbs out of the vault") }
            if part.hasPrefix(".") { throw refuse("names something hidden") }
            if part.utf8.count > 255 { throw refuse("has a part that is too long") }
            if part.unicodeScalars.contains(where: { $0.value < 0x20 || $0 == "\\" }) {
                throw refuse("has a character that no note's name may have")
            }
        }
        self.text = trimmed
    }

    /// A path that was read from the file system or checked before.
    init(trusted text: String) { self.text = text }

    /// The same with `.md` when it has no extension.
    var asNote: VaultPath {
        let name = text.split(separator: "/").last ?? ""
        return name.contains(".") && !name.hasSuffix(".") ? self : VaultPath(trusted: text + ".md")
    }

    var folder: String { text.lastIndex(of: "/").map { String(text[..<$0]) } ?? "" }
    var name: String { text.lastIndex(of: "/").map { String(text[text.index(after: $0)...]) } ?? text }
    /// The name without its extension.
    var title: String {
        let name = name
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return name }
        return String(name[..<dot])
    }
    var isNote: Bool { text.lowercased().hasSuffix(".md") }
    var isCanvas: Bool { text.lowercased().hasSuffix(".canvas") }
    /// Whether it may have links.
    var isLinking: Bool { isNote || isCanvas }
    var description: String { text }

    static func < (left: VaultPath, right: VaultPath) -> Bool { left.text < right.text }

    /// Whether it is in a folder that is not shown, such as the trash.
    var isHidden: Bool { text.split(separator: "/").contains { !Self.isVisible(String($0)) } }

    /// Whether the name belongs to a note or attachment, and not to an editor or a sync tool at work.
    static func isVisible(_ name: String) -> Bool {
        !(name.hasPrefix(".") || name.hasSuffix("~") || name.hasSuffix(".tmp") || name == "4913"
            || name.contains(".sync-conflict-"))
    }
}
