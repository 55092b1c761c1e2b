import KnapPlugin

/// The move of a file or a folder to another place in its vault, with the links that follow.
struct VaultMove {
    let from: VaultPath
    let to: VaultPath
    let isFolder: Bool
    /// Where each file goes, by where it is.
    let moved: [String: String]
    private let vault: Vault
    /// Whether the files go one by one into a folder that has others.
    private let isMerging: Bool

    init(file from: VaultPath, to: VaultPath, in vault: Vault) {
        (self.from, self.to, self.vault) = (from, to, vault)
        (isFolder, isMerging, moved) = (false, false, [from.text: to.text])
    }

    /// - Parameters:
    ///   - path: A file, or a folder, which may end in `/` to be no note of that name.
    ///   - to: The new path; ending in `/`, the folder to go into, or for a folder that there is none of, the new path too.
    init(_ path: String, to: String, in vault: Vault) throws {
        if let folder = try vault.folder(path) {
            try self.init(folder: folder, to: to, in: vault)
        } else {
            try self.init(file: try vault.find(path), to: to, in: vault)
        }
    }

    private init(file from: VaultPath, to text: String, in vault: Vault) throws {
        var to = try VaultPath(text.hasSuffix("/") ? text + from.name : text, argument: "to")
        if from.isNote { to = to.asNote }
        to = vault.spelled(to)
        try to.checkNew(argument: "to", keeping: from)
        guard !to.text.utf8.elementsEqual(from.text.utf8) else {
            throw VaultError(.invalidArgument, "to is where '\(from)' already is")
        }
        let clash = vault.paths.first { folded($0) == folded(to.text) && $0 != from.text }
        if let clash = clash ?? (to != from && folded(to.text) != folded(from.text) && vault.files.stamp(to) != nil ? to.text : nil) {
            throw VaultError(.alreadyExists, "there is already a file '\(clash)'; choose another name")
        }
        self.init(file: from, to: to, in: vault)
    }

    private init(folder from: VaultPath, to text: String, in vault: Vault) throws {
        let plain = text.hasSuffix("/") ? String(text.dropLast()) : text
        var to = plain.isEmpty ? from : vault.spelled(try VaultPath(plain, argument: "to"))
        if plain.isEmpty { to = VaultPath(trusted: from.name) }
        let target = try vault.folder(to.text + "/", isOptional: true)
        if text.hasSuffix("/"), !plain.isEmpty, let target { to = VaultPath(trusted: target.text + "/" + from.name) }
        guard !to.text.utf8.elementsEqual(from.text.utf8) else {
            throw VaultError(.invalidArgument, "to is where the folder '\(from)' already is")
        }
        guard !to.text.hasPrefix(from.text + "/") else {
            throw VaultError(.invalidArgument, "the folder '\(from)' cannot move into itself, to '\(to)'")
        }
        try to.checkNew(argument: "to", keeping: from)
        let isRespelled = folded(to.text) == folded(from.text)
        if let target = try vault.folder(to.text + "/", isOptional: true), !isRespelled { to = target }
        let all = vault.files(in: from)
        self.moved = Dictionary(all.map { ($0, to.text + $0.dropFirst(from.text.count)) }) { first, _ in first }
        self.isMerging = !isRespelled && vault.files.isFolder(to) && !vault.files.isEmptyFolder(to)
        (self.from, self.to, self.isFolder, self.vault) = (from, to, true, vault)
        if isMerging { try refuseClashes() }
        else if vault.files.stamp(to) != nil {
            throw VaultError(.alreadyExists, "there is a file '\(to)', where the folder would go; choose another name")
        }
    }

    private static let namedClashes = 50

    private func refuseClashes() throws(VaultError) {
        let there = Set(vault.paths.map(folded))
        let clashes = moved.values.filter { there.contains(folded($0)) || vault.files.stamp(VaultPath(trusted: $0)) != nil }.sorted()
        guard !clashes.isEmpty else { return }
        let named = clashes.prefix(Self.namedClashes)
        throw VaultError(
            .alreadyExists,
            "the folder '\(from)' cannot go into '\(to)', which has \(clashes.count) of its files already: "
                + named.prefix(10).joined(separator: ", ") + (clashes.count > 10 ? ", …" : "") + "; rename these first",
            details: ["clashes": .array(named.map { .string($0) })])
    }

    /// The move itself first, then what becomes of the links.
    func changes() throws -> [FileChange] {
        let plan = MovePlan(moved, in: vault)
        let sources = try plan.sources()
        var contents: [String: FileChange.Content] = [:]
        for source in sources { contents[source] = try plan.content(of: source) }
        var changes: [FileChange] = []
        if isFolder, !isMerging {
            changes.append(FileChange(path: to, from: from, content: .folder))
        } else {
            changes = moved.keys.sorted().map { path in
                .move(VaultPath(trusted: path), to: VaultPath(trusted: moved[path] ?? path), contents[path] ?? .kept)
            }
        }
        for source in sources {
            guard let content = contents[source] else { continue }
            let path = VaultPath(trusted: source)
            guard let now = moved[source] else {
                changes.append(FileChange(path: path, content: content))
                continue
            }
            if isFolder, !isMerging { changes.append(.move(path, to: VaultPath(trusted: now), content)) }
        }
        return changes
    }

    /// Its number in the history.
    func apply(_ changes: [FileChange]) throws -> Int64? {
        guard !changes.isEmpty else {
            throw VaultError(.failedPrecondition, "the folder '\(from)' has no files that could go to '\(to)'")
        }
        let done = try vault.apply("move", changes)
        if isMerging { vault.removeFolders(emptiedOf: moved.keys, upTo: from) }
        return done.id
    }
}

extension Vault {
    /// The folder that an argument means; nil for a file's path, and for what is not there.
    ///
    /// - Parameter isOptional: Whether one that ends in `/` need not be there.
    func folder(_ text: String, isOptional: Bool = false) throws(VaultError) -> VaultPath? {
        let isMarked = text.hasSuffix("/")
        let path = try VaultPath(isMarked ? String(text.dropLast()) : text)
        // Without the mark a note of that name goes before.
        if !isMarked, [path, path.asNote].contains(where: { files.stamp($0) != nil }) { return nil }
        if files.isFolder(path) { return path }
        let folders = folders
        if let found = folders.first(where: { folded($0) == folded(path.text) }) { return VaultPath(trusted: found) }
        guard isMarked, !isOptional else { return nil }
        let hint = nearest(to: path.text, among: folders).map { "; did you mean '\($0)'?" } ?? "; list_notes shows what is there"
        throw VaultError(.notFound, "there is no folder '\(path)' in the vault\(hint)")
    }

    /// Every folder with a visible file in it or below it.
    private var folders: Set<String> {
        var folders: Set<String> = []
        for path in paths {
            var folder = VaultPath(trusted: path).folder
            while !folder.isEmpty, folders.insert(folder).inserted { folder = VaultPath(trusted: folder).folder }
        }
        return folders
    }

    /// Removes folders that files have left, up to and with one, as far as nothing is in them.
    func removeFolders(emptiedOf paths: some Sequence<String>, upTo last: VaultPath? = nil) {
        var folders: Set<String> = []
        for path in paths {
            var folder = VaultPath(trusted: path).folder
            while !folder.isEmpty, last.map({ folder == $0.text || folder.hasPrefix($0.text + "/") }) ?? true {
                guard folders.insert(folder).inserted else { break }
                folder = VaultPath(trusted: folder).folder
            }
        }
        // The deepest first.
        for folder in folders.sorted(by: >) { files.removeEmptyFolder(VaultPath(trusted: folder)) }
    }
}
