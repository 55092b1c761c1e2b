/// Which two tokens become which one, and when: a hash table with open addressing, for it is asked some million times
/// when a vault is read.
struct MergeTable: Sendable {
    /// The rank of two tokens that do not merge.
    static let none = UInt32.max

    private static let free = UInt64.max

    private var keys: [UInt64]
    private var ranks: [UInt32]
    private var tokens: [Int32]
    private let mask: Int

    /// At most half of the places are ever taken.
    init(capacity: Int) {
        var size = 16
        while size < capacity * 2 { size *= 2 }
        mask = size - 1
        keys = Array(repeating: Self.free, count: size)
        ranks = Array(repeating: Self.none, count: size)
        tokens = Array(repeating: 0, count: size)
    }

    /// The first rank that two tokens are given holds.
    mutating func insert(_ left: Int32, _ right: Int32, rank: UInt32, merged: Int32) {
        let key = Self.key(left, right)
        let place = place(of: key)
        guard keys[place] == Self.free else { return }
        keys[place] = key
        ranks[place] = rank
        tokens[place] = merged
    }

    func rank(_ left: Int32, _ right: Int32) -> UInt32 { ranks[place(of: Self.key(left, right))] }

    /// Only of two that merge.
    func merged(_ left: Int32, _ right: Int32) -> Int32 { tokens[place(of: Self.key(left, right))] }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// Where a key is, or a free place.
    private func place(of key: UInt64) -> Int {
        // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4).
        var place = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
        while keys[place] != key, keys[place] != Self.free { place = (place + 1) & mask }
        return place
    }
}
