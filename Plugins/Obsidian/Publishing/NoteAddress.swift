import KnapPlugin

/// The addresses of a file as a resource.
///
/// Clients subscribe to one as they write it: with or without the vault's name, with or without `.md`, and with more or
/// fewer characters escaped. A change is told by each of these.
enum NoteAddress {
    /// - Parameter isOnly: No other vault is open, so that addresses need not name it.
    static func all(of path: String, vault: String, isOnly: Bool) -> Set<String> {
        var paths = [path]
        if VaultPath(trusted: path).isNote { paths.append(String(path.dropLast(3))) }
        var addresses: Set<String> = []
        for path in paths {
            for path in [path, PercentEncoding.encode(path, keeping: reserved), escaped(path)] {
                if isOnly { addresses.insert("vault:///" + path) }
                addresses.insert("vault://" + PercentEncoding.encode(vault, keeping: "") + "/" + path)
            }
        }
        return addresses
    }

    /// The vault's name, nil for the only one, and the path; nil for what is no note's address.
    static func read(_ uri: String) -> (vault: String?, path: String)? {
        let place = uri.dropFirst("vault://".count)
        guard uri.hasPrefix("vault://"), let slash = place.firstIndex(of: "/"),
            let name = PercentEncoding.decode(place[..<slash].utf8),
            let path = PercentEncoding.decode(place[place.index(after: slash)...].utf8)
        else { return nil }
        return (name.isEmpty ? nil : name, path)
    }

    /// A path in an address, its slashes as they are.
    static func escaped(_ path: String) -> String { PercentEncoding.encode(path, keeping: "/") }

    /// RFC 6570, section 3.2.3: what `{+path}` leaves as it is.
    private static let reserved = ":/?#[]@!$&'()*+,;="
}
