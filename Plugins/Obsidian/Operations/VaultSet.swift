import KnapPlugin

/// The open vaults, and which of them an argument means.
struct VaultSet: Sendable {
    let vaults: [Vault]

    func vault(_ name: String?) throws(VaultError) -> Vault {
        guard let name else {
            if let first = vaults.first { return first }
            throw VaultError(.failedPrecondition, "no vault is open; start with `knap serve --vault FOLDER`")
        }
        if let found = vaults.first(where: { $0.name == name || $0.files.root == name }) { return found }
        let names = vaults.map(\.name)
        let near = nearest(to: name, among: names).map { "; did you mean '\($0)'?" } ?? ""
        throw VaultError(.notFound, "there is no vault '\(name)'\(near); open are: \(names.joined(separator: ", "))")
    }
}

/// A page of a longer list.
struct Page: Sendable {
    let limit: Int
    let offset: Int

    init(limit: Int?, offset: Int?, standard: Int, most: Int) throws(VaultError) {
        self.limit = limit ?? standard
        self.offset = offset ?? 0
        guard (1...most).contains(self.limit) else { throw VaultError(.invalidArgument, "limit must be between 1 and \(most), not \(self.limit)") }
        guard self.offset >= 0 else { throw VaultError(.invalidArgument, "offset must be 0 or more, not \(self.offset)") }
    }

    /// Where the next page begins; nil after the last.
    func next(shown: Int, of total: Int) -> Int? { offset + shown < total ? offset + shown : nil }
}

/// That answers may be incomplete, while the index is being built.
struct Indexing: Codable, Sendable {
    var done: Int
    var total: Int

    /// Nil once everything is indexed.
    init?(_ vault: Vault) {
        let progress = vault.progress
        if progress.isComplete { return nil }
        done = progress.done
        total = progress.total
    }
}
