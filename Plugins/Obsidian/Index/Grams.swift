import GRDB

/// The one, two and three characters in a row that a text has, folded: what tells without reading it that some other
/// text cannot stand in it, wherever words begin, and in scripts that put no space between them.
///
/// SQLite's own trigrams do not find the one or two characters that are a word in Chinese or Japanese.
enum Grams {
    static let longest = 3

    /// What FTS5 takes to find the notes that have all of a text's grams; nil where it has none that are kept.
    ///
    /// It is exact for a text of no more than three characters.
    static func match(_ folded: String) -> (text: String, isExact: Bool)? {
        let scalars = Array(folded.unicodeScalars)
        let length = min(longest, scalars.count)
        guard length > 0 else { return nil }
        var grams: [String] = []
        for start in 0...scalars.count - length {
            let gram = scalars[start..<start + length]
            guard gram.allSatisfy({ isKept($0.value) }) else { continue }
            let text = "\"" + gram.map(String.init).joined().replacing("\"", with: "\"\"") + "\""
            if !grams.contains(text) { grams.append(text) }
        }
        guard !grams.isEmpty else { return nil }
        // Those of a long text tell little more than some of them.
        let step = (grams.count + most - 1) / most
        let chosen = stride(from: 0, to: grams.count, by: step).map { grams[$0] }
        return (chosen.joined(separator: " AND "), scalars.count == length)
    }

    private static let most = 16

    /// Line ends and other controls are in no gram.
    static func isKept(_ scalar: UInt32) -> Bool { scalar >= 0x20 }
}

/// FTS5's view of ``Grams``: each distinct one of a document is a token; of a query the whole is one.
final class GramTokenizer: FTS5CustomTokenizer {
    static let name = "knap_grams"

    private var seen = GramSet()

    init(db: Database, arguments: [String]) throws {}

    func tokenize(
        context: UnsafeMutableRawPointer?, tokenization: FTS5Tokenization, pText: UnsafePointer<CChar>?, nText: CInt,
        tokenCallback: @escaping FTS5TokenCallback
    ) -> CInt {
        guard let pText, nText > 0 else { return 0 }
        guard !tokenization.contains(.query) else { return tokenCallback(context, 0, pText, nText, 0, nText) }
        let raw = UnsafeRawBufferPointer(start: pText, count: Int(nText))
        let folded = Folding.bytes(raw.bindMemory(to: UInt8.self))
        // A local one is not checked for exclusive access with every gram.
        var seen = GramSet(count: 0)
        swap(&seen, &self.seen)
        defer { swap(&seen, &self.seen) }
        seen.removeAll()
        return folded.withUnsafeBufferPointer { bytes -> CInt in
            guard let base = bytes.baseAddress else { return 0 }
            return base.withMemoryRebound(to: CChar.self, capacity: bytes.count) { characters in
                // The last scalars with where they begin, oldest first; a key of 0 is none.
                var (first, second): (UInt64, UInt64) = (0, 0)
                var (firstStart, secondStart) = (0, 0)
                var place = 0
                while place < bytes.count {
                    let start = place
                    let scalar = UInt64(Self.scalar(bytes, &place))
                    guard Grams.isKept(UInt32(scalar)) else {
                        (first, second) = (0, 0)
                        continue
                    }
                    var keys = (scalar, UInt64(0), UInt64(0))
                    if second != 0 { keys.1 = second << 21 | scalar }
                    if first != 0 { keys.2 = first << 42 | second << 21 | scalar }
                    for (key, start) in [(keys.0, start), (keys.1, secondStart), (keys.2, firstStart)]
                    where key != 0 && seen.insert(key) {
                        let code = tokenCallback(context, 0, characters + start, CInt(place - start), CInt(start), CInt(place))
                        guard code == 0 else { return code }
                    }
                    (first, firstStart) = (second, secondStart)
                    (second, secondStart) = (scalar, start)
                }
                return 0
            }
        }
    }

    /// The next scalar of what is UTF-8 for certain.
    private static func scalar(_ bytes: UnsafeBufferPointer<UInt8>, _ place: inout Int) -> UInt32 {
        let first = UInt32(bytes[place])
        let count = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        var scalar = count == 1 ? first : first & (0x7F >> UInt32(count))
        for offset in 1..<max(count, 1) where place + offset < bytes.count {
            scalar = scalar << 6 | UInt32(bytes[place + offset] & 0x3F)
        }
        place += count
        return scalar
    }
}

/// Numbers other than 0 that have come already; what it needs grows with how many they are.
private struct GramSet {
    private static let least = 1 << 12
    private var table: [UInt64]
    private var count = 0

    init(count: Int = least) { table = [UInt64](repeating: 0, count: count) }

    mutating func removeAll() {
        if table.count > 1 << 16 { table = [UInt64](repeating: 0, count: Self.least) }
        else { table.withUnsafeMutableBufferPointer { $0.update(repeating: 0) } }
        count = 0
    }

    /// False for what was there.
    mutating func insert(_ key: UInt64) -> Bool {
        if count * 2 >= table.count {
            let old = table
            table = [UInt64](repeating: 0, count: old.count * 2)
            for key in old where key != 0 { _ = Self.put(key, &table) }
        }
        let isNew = Self.put(key, &table)
        if isNew { count += 1 }
        return isNew
    }

    private static func put(_ key: UInt64, _ table: inout [UInt64]) -> Bool {
        table.withUnsafeMutableBufferPointer { table in
            let mask = table.count - 1
            // Fibonacci hashing (Knuth, volume 3, section 6.4).
            var slot = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
            while table[slot] != 0 {
                if table[slot] == key { return false }
                slot = (slot + 1) & mask
            }
            table[slot] = key
            return true
        }
    }
}
