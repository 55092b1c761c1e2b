import KnapPlugin

/// The open vaults, and which of them an argument means.
struct VaultSet: Sendable {
    let open: [OpenVault]

    /// As they are for the plugin itself.
    var vaults: [Vault] { open.map(\.vault) }

    /// Nil for one that is being closed.
    func pipeline(of vault: Vault) -> NotePipeline? { open.first { $0.vault.name == vault.name }?.pipeline }

    /// All of them, as a caller may see them.
    func all(for call: Call) throws -> [Vault] {
        let principal = call.principal
        return try open.map { try $0.views.view(for: principal) }
    }

    /// The vault that an argument means, as a caller may see it: the one way to a vault on somebody's behalf.
    func vault(_ name: String?, _ call: Call) throws -> Vault {
        let vault = try vault(name)
        guard let found = open.first(where: { $0.vault === vault }) else { return vault }
        return try found.views.view(for: call.principal)
    }

    private func vault(_ name: String?) throws(VaultError) -> Vault {
        guard !vaults.isEmpty else {
            throw VaultError(.failedPrecondition, "no vault is open; start with `knap serve --vault FOLDER`")
        }
        guard let name else {
            if vaults.count == 1 { return vaults[0] }
            // The first of them would be the wrong one half of the time, and nobody would learn that there are others.
            let names = vaults.map { "'\($0.name)'" }.joined(separator: ", ")
            throw VaultError(
                .invalidArgument, "\(vaults.count) vaults are open; say which one with the argument vault: \(names)",
                details: ["vaults": .array(vaults.map { .string($0.name) })])
        }
        if let found = vaults.first(where: { $0.name == name || $0.files.root == name }) { return found }
        let names = vaults.map(\.name)
        let near = nearest(to: name, among: names).map { "; did you mean '\($0)'?" } ?? ""
        throw VaultError(.notFound, "there is no vault '\(name)'\(near); open are: \(names.joined(separator: ", "))")
    }
}

/// What to call vaults: as their folders, with as much of the path as tells them apart.
enum VaultNames {
    static func unique(_ roots: [String]) -> [String] {
        let parts = roots.map { $0.split(separator: "/").map(String.init) }
        return parts.map { own in
            guard !own.isEmpty else { return "/" }
            let count = (1...own.count).first { count in parts.count { $0.suffix(count) == own.suffix(count) } == 1 }
            return own.suffix(count ?? own.count).joined(separator: "/")
        }
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

/// That answers may be incomplete, or slow, while the index is being built.
struct Indexing: Codable, Sendable {
    /// How many notes are indexed, while answers lack the others.
    var done: Int?
    var total: Int?
    /// That an answer is complete, but had to read notes for the lack of their parts of words: `index 40 %`.
    var substrings: String?

    /// Nil once everything is indexed that the answer needed. `substrings` are the notes of a hundred of which it knew
    /// the parts of words; nil where it did not ask for them.
    init?(_ vault: Vault, substrings: Int? = nil) {
        let progress = vault.progress
        if progress.isComplete, substrings == nil { return nil }
        if !progress.isComplete { (done, total) = (progress.done, progress.total) }
        self.substrings = substrings.map(Self.text)
    }

    static func text(_ percent: Int) -> String { "index \(percent) %" }
}
