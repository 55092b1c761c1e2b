import KnapPlugin

/// Names that a new file may have.
///
/// What is there already may be called anything and is read, changed and deleted under its name. A new one has to exist
/// on other systems too: Obsidian refuses `* " \ / < > : | ?`, Windows blanks and dots at the end, and file systems names
/// over 255 bytes.
extension VaultPath {
    private static let longest = 255, deepest = 60

    /// - Parameter old: The path that it comes from, the parts of which may stay what they are.
    func checkNew(argument: String = "path", keeping old: VaultPath? = nil) throws(VaultError) {
        func refuse(_ why: String) -> VaultError {
            VaultError(.invalidArgument, "\(argument) '\(text)' \(why); choose another name for the new file")
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= Self.deepest else { throw refuse("is in more than \(Self.deepest - 1) folders") }
        let kept = Set((old?.text ?? "").split(separator: "/").map(String.init))
        for part in parts where !kept.contains(part) {
            if let bad = part.first(where: { "*\"\\<>:|?".contains($0) }) {
                throw refuse("has the character \(bad), which Obsidian and other systems refuse (any of * \" \\ / < > : | ?)")
            }
            if part.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
                throw refuse("has a control character")
            }
            if part.utf8.count > Self.longest { throw refuse("has a name of more than \(Self.longest) bytes") }
            if let first = part.first, first.isWhitespace { throw refuse("has a name that begins with a blank") }
            if let last = part.last, last.isWhitespace || last == "." {
                throw refuse("has a name that ends with a blank or a dot, which other systems refuse")
            }
        }
        if kept.contains(name) { return }
        if title.last?.isWhitespace == true || isNote && title.hasSuffix(".") {
            throw refuse("has a name that ends with a blank or a dot before its extension")
        }
        if !Self.isVisible(name) { throw refuse("has a name that editors and sync tools use for files in between") }
    }

    /// The text with as much of its end cut off as it takes to be a file's name with an ending.
    static func name(_ title: String, _ ending: String) -> String {
        var title = title
        while title.utf8.count + ending.utf8.count > longest, !title.isEmpty { title.removeLast() }
        return title + ending
    }
}

extension Vault {
    /// The file that is meant when a new one is to be at a path: the one that is there under another spelling of upper
    /// and lower case or another composition of letters, and, where there is none, a path in the folders as they are
    /// spelt. Elsewhere the two would be one file.
    func placeOfNew(_ path: VaultPath, argument: String = "path") throws(VaultError) -> VaultPath {
        if files.stamp(path) != nil { return path }
        if let found = resolve("/" + path.text, from: ""), folded(found) == folded(path.text) {
            return VaultPath(trusted: found)
        }
        let place = spelled(path)
        try place.checkNew(argument: argument)
        return place
    }

    /// A path whose folders are spelt as they are on the disk, as far as they are there.
    func spelled(_ path: VaultPath) -> VaultPath { VaultPath(trusted: spelled(folder: path.folder) + path.name) }

    /// With `/` behind it.
    private func spelled(folder: String) -> String {
        guard !folder.isEmpty else { return "" }
        if files.hasFolder(VaultPath(trusted: folder)) { return folder + "/" }
        let wanted = folded(folder + "/")
        if let example = paths.first(where: { folded($0).hasPrefix(wanted) }) {
            let count = folder.split(separator: "/").count
            return example.split(separator: "/").prefix(count).joined(separator: "/") + "/"
        }
        let path = VaultPath(trusted: folder)
        return spelled(folder: path.folder) + path.name + "/"
    }
}
