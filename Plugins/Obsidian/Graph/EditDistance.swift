/// Levenshtein's distance from one text to many, a bit for each of its bytes (Myers, "A fast bit-vector algorithm for
/// approximate string matching", 1999, in Hyyrö's form for whole texts).
struct EditDistance {
    private let text: [UInt8]
    private var places = [UInt64](repeating: 0, count: 256)

    init(from text: [UInt8]) {
        self.text = text
        for (place, byte) in text.prefix(64).enumerated() { places[Int(byte)] |= 1 << UInt64(place) }
    }

    /// In bytes; `limit` for all that is not less.
    func distance(to other: ArraySlice<UInt8>, limit: Int) -> Int {
        guard !text.isEmpty, text.count <= 64 else { return editDistance(text, Array(other), limit: limit) }
        let last: UInt64 = 1 << UInt64(text.count - 1)
        var (up, down) = (UInt64.max, UInt64(0))
        var distance = text.count
        for (place, byte) in other.enumerated() {
            let equal = places[Int(byte)]
            let vertical = equal | down
            let horizontal = (((equal & up) &+ up) ^ up) | equal
            var plus = down | ~(horizontal | up)
            var minus = up & horizontal
            if plus & last != 0 { distance += 1 }
            if minus & last != 0 { distance -= 1 }
            // Each further byte takes one away at most.
            if distance - (other.count - 1 - place) >= limit { return limit }
            plus = plus << 1 | 1
            minus <<= 1
            up = minus | ~(vertical | plus)
            down = plus & vertical
        }
        return min(distance, limit)
    }
}
