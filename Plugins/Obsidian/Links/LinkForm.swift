/// How the target of a link is written: Obsidian's setting newLinkFormat.
enum LinkForm: String, Sendable {
    /// The name where no other file has it, else the whole path.
    case shortest
    /// From the folder of the note with the link.
    case relative
    /// From the vault's root.
    case absolute

    /// What leads to a file, the form's own way first, then what is plainer.
    func candidates(for path: String, from source: String, isUnique: Bool) -> [String] {
        let own =
            switch self {
            case .shortest: isUnique ? [VaultPath(trusted: path).name] : []
            case .relative: Self.relative(path, VaultPath(trusted: source).folder)
            case .absolute: [String]()
            }
        return own + [path, "/" + path]
    }

    /// A path in the same folder or below it is marked as one only where it has to be.
    private static func relative(_ path: String, _ folder: String) -> [String] {
        let from = folder.split(separator: "/")
        let to = path.split(separator: "/")
        let common = zip(from, to.dropLast()).prefix { $0 == $1 }.count
        let down = to.dropFirst(common).joined(separator: "/")
        let up = from.count - common
        return up == 0 ? [down, "./" + down] : [String(repeating: "../", count: up) + down]
    }
}
