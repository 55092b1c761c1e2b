/// Finds what somebody may have meant.
enum NearestName {
    /// The candidate with the fewest differences, if it is close enough to be a slip.
    static func find(_ name: String, among candidates: some Sequence<String>) -> String? {
        let wanted = Array(name.lowercased().utf8.prefix(128))
        let allowed = max(2, wanted.count / 3)
        let ranked = candidates.map { (name: $0, distance: distance(wanted, Array($0.lowercased().utf8.prefix(128)))) }
        guard let nearest = ranked.min(by: { ($0.distance, $0.name) < ($1.distance, $1.name) }) else { return nil }
        return nearest.distance <= allowed ? nearest.name : nil
    }

    /// Levenshtein's distance, one row at a time.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                let substitution = diagonal + (x == y ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substitution, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[b.count]
    }
}
