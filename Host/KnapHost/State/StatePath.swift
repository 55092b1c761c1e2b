import Glibc

/// Where state directories are when nobody says where.
package struct StatePath {
    /// `${XDG_STATE_HOME:-~/.local/state}/knap` (XDG Base Directory Specification).
    package let parent: String

    package init(environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }) {
        // The specification has relative paths ignored.
        let state = environment("XDG_STATE_HOME").flatMap { $0.hasPrefix("/") ? $0 : nil }
        let home = environment("HOME") ?? getpwuid(getuid())?.pointee.pw_dir.map { String(cString: $0) } ?? "/"
        parent = (state ?? home + "/.local/state") + "/knap"
    }

    /// `<vault>-<hash8>`: the vault's name for people, the hash of the real path to tell equal names apart.
    ///
    /// - Parameter vaults: absolute paths without symbolic links, at least one. Their order does not matter but for
    ///   the name, which is the first one's.
    package func directory(forVaults vaults: [String]) -> String {
        let name = vaults.first?.split(separator: "/").last.map(String.init) ?? "root"
        return "\(parent)/\(name)-\(Self.hash8(vaults.sorted().joined(separator: "\0")))"
    }

    /// FNV-1a with 64 bits, folded to 32: stable between runs and versions, which `Hasher` is not.
    static func hash8(_ text: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(UInt32(truncatingIfNeeded: hash ^ (hash >> 32)), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
