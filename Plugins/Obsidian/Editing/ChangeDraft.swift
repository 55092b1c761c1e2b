import KnapPlugin

/// Files as a list of operations would leave them, each seeing what those before it did. Nothing is written.
struct ChangeDraft {
    private struct File {
        /// Nil where there is none.
        var before: [UInt8]?
        var after: [UInt8]?
    }

    private let vault: Vault
    private var files: [VaultPath: File] = [:]
    /// In the order in which they were first touched.
    private var order: [VaultPath] = []

    init(_ vault: Vault) { self.vault = vault }

    private mutating func file(_ path: VaultPath) throws(VaultError) -> File {
        if let known = files[path] { return known }
        let file: File
        do throws(VaultError) {
            let bytes = try vault.files.read(path).bytes
            file = File(before: bytes, after: bytes)
        } catch {
            guard error.code == .notFound else { throw error }
            file = File()
        }
        files[path] = file
        order.append(path)
        return file
    }

    /// What the list's operations have made of a file so far; nil for none.
    mutating func content(_ path: VaultPath) throws(VaultError) -> [UInt8]? { try file(path).after }

    mutating func set(_ path: VaultPath, _ content: [UInt8]?) throws(VaultError) {
        var file = try file(path)
        file.after = content
        files[path] = file
    }

    /// That a file had the version that somebody knows, before the list's first operation on it.
    mutating func check(_ path: VaultPath, isOf expected: String) throws(VaultError) {
        try Vault.check(path, try file(path).before, isOf: expected)
    }

    /// The file that an argument means, also one that an operation made.
    mutating func find(_ text: String) throws(VaultError) -> VaultPath {
        let path = try VaultPath(text)
        for candidate in [path, path.asNote] where files[candidate]?.after != nil { return candidate }
        let made = files.filter { $0.value.before == nil && $0.value.after != nil }.keys
        if let found = made.first(where: { folded($0.text) == folded(path.asNote.text) }) { return found }
        let found = try vault.find(text)
        guard files[found].map({ $0.after != nil }) ?? true else {
            throw VaultError(.notFound, "'\(found)' was deleted by an operation before this one")
        }
        return found
    }

    /// The file that is written when a path is: another spelling of one that is there means that one.
    mutating func place(_ path: VaultPath) throws(VaultError) -> VaultPath {
        if files[path]?.after != nil { return path }
        let made = files.filter { $0.value.after != nil }.keys.first { folded($0.text) == folded(path.text) }
        if let made { return made }
        return try vault.placeOfNew(path)
    }

    /// What has to be done to the vault's files; nothing where they are so already.
    var changes: [FileChange] {
        order.compactMap { path in
            guard let file = files[path], file.before != file.after else { return nil }
            guard let after = file.after else { return file.before.map { .delete(path, before: $0) } }
            return .write(path, before: file.before, after: after)
        }
    }
}
