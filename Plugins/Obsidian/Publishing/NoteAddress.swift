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
            for path in [path, escaped(path, keeping: reserved), escaped(path, keeping: separator)] {
                if isOnly { addresses.insert("vault:///" + path) }
                addresses.insert("vault://" + escaped(vault, keeping: []) + "/" + path)
            }
        }
        return addresses
    }

    /// The vault's name, nil for the only one, and the path; nil for what is no note's address.
    static func read(_ uri: String) -> (vault: String?, path: String)? {
        let place = uri.dropFirst("vault://".count)
        guard uri.hasPrefix("vault://"), let slash = place.firstIndex(of: "/"),
            let name = PercentEncoding.decode(place[..<slash]),
            let path = PercentEncoding.decode(place[place.index(after: slash)...])
        else { return nil }
        return (name.isEmpty ? nil : name, path)
    }

    /// A path in an address, its slashes as they are.
    static func escaped(_ path: String) -> String { escaped(path, keeping: separator) }

    private static let separator = Set("/".utf8)
    /// RFC 6570, section 3.2.3: what `{+path}` leaves as it is.
    private static let reserved = Set(":/?#[]@!$&'()*+,;=".utf8)

    /// RFC 3986, section 2.1.
    private static func escaped(_ text: String, keeping kept: Set<UInt8>) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            let isUnreserved =
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "~"):
                    true
                default: false
                }
            bytes += isUnreserved || kept.contains(byte) ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
