/// What one operation does to one file of the vault.
struct FileChange: Sendable, Hashable {
    enum Content: Sendable, Hashable {
        /// As it was: the file only moves.
        case kept
        /// `before` is nil for a file that is new.
        case written(before: [UInt8]?, after: [UInt8])
        /// The file goes to the vault's trash.
        case deleted(before: [UInt8])
        /// No file but a folder, which moves with all that is in it.
        case folder
    }

    /// Where the file is afterwards; for one that is deleted, where it was.
    var path: VaultPath
    /// Where it was before, if that was elsewhere.
    var from: VaultPath?
    var content: Content

    static func write(_ path: VaultPath, before: [UInt8]?, after: [UInt8]) -> FileChange {
        FileChange(path: path, content: .written(before: before, after: after))
    }

    static func delete(_ path: VaultPath, before: [UInt8]) -> FileChange {
        FileChange(path: path, content: .deleted(before: before))
    }

    static func move(_ from: VaultPath, to path: VaultPath, _ content: Content = .kept) -> FileChange {
        FileChange(path: path, from: from, content: content)
    }

    /// The content that there was and that there is, nil for none; both nil where only the place changes.
    var contents: (before: [UInt8]?, after: [UInt8]?) {
        switch content {
        case .kept, .folder: (nil, nil)
        case .written(let before, let after): (before, after)
        case .deleted(let before): (before, nil)
        }
    }

    var isFolder: Bool { content == .folder }

    /// Whether a file moves because this folder does.
    func carries(_ change: FileChange) -> Bool {
        guard isFolder, !change.isFolder, let from, let source = change.from else { return false }
        return source.text.hasPrefix(from.text + "/") && change.path.text == path.text + source.text.dropFirst(from.text.count)
    }
}
