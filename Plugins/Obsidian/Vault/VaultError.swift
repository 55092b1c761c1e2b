import KnapPlugin

/// Why an operation on a vault failed: which argument, what is allowed, what was probably meant.
typealias VaultError = PluginError

extension PluginError {
    init(_ code: StatusCode, _ message: String, details: JSON? = nil) {
        self.init(code: code, message: message, details: details)
    }
}

/// The candidate that is probably meant by a misspelt text; none when nothing is near.
func nearest(to text: String, among candidates: some Sequence<String>) -> String? {
    let wanted = Array(text.lowercased().utf8)
    var best: (candidate: String, distance: Int)?
    for candidate in candidates {
        let other = Array(candidate.lowercased().utf8)
        let limit = best?.distance ?? max(2, wanted.count / 3) + 1
        if abs(other.count - wanted.count) >= limit { continue }
        let distance = editDistance(wanted, other, limit: limit)
        if distance < limit { best = (candidate, distance) }
    }
    return best?.candidate
}

/// Levenshtein's distance, or `limit` as soon as it cannot be less.
func editDistance(_ left: [UInt8], _ right: [UInt8], limit: Int) -> Int {
    var row = Array(0...right.count)
    for (i, byte) in left.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        var least = row[0]
        for (j, other) in right.enumerated() {
            let cost = min(row[j] + 1, row[j + 1] + 1, diagonal + (byte == other ? 0 : 1))
            diagonal = row[j + 1]
            row[j + 1] = cost
            least = min(least, cost)
        }
        if least >= limit { return limit }
    }
    return min(row[right.count], limit)
}
