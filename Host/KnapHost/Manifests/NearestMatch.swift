/// The word somebody probably meant.
package enum NearestMatch {
    /// The closest of `candidates`, or none that is close enough to be a misspelling of `word`.
    package static func find(_ word: String, among candidates: some Sequence<String>) -> String? {
        let letters = Array(word.unicodeScalars)
        var best: (word: String, distance: Int)?
        for candidate in candidates {
            let distance = isAbbreviated(word, candidate) ? 1 : distance(letters, Array(candidate.unicodeScalars))
            if distance < best?.distance ?? Int.max { best = (candidate, distance) }
        }
        guard let best, best.distance <= max(1, letters.count / 3) else { return nil }
        return best.word
    }

    /// ` (did you mean 'x'?)`, or nothing.
    package static func hint(_ word: String, among candidates: some Sequence<String>) -> String {
        find(word, among: candidates).map { " (did you mean '\($0)'?)" } ?? ""
    }

    /// `deadline` for `deadline_ms` is no slip of the fingers but as good a guess.
    private static func isAbbreviated(_ word: String, _ candidate: String) -> Bool {
        min(word.count, candidate.count) >= 3 && (candidate.hasPrefix(word) || word.hasPrefix(candidate))
    }

    /// Edits from one to the other: insert, delete, replace, or swap two neighbours (optimal string alignment).
    private static func distance(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar]) -> Int {
        if left.isEmpty || right.isEmpty { return max(left.count, right.count) }
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for i in 1...left.count {
            var row = [i]
            for j in 1...right.count {
                let replaced = last[j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1)
                var cost = min(replaced, last[j] + 1, row[j - 1] + 1)
                if i > 1, j > 1, left[i - 1] == right[j - 2], left[i - 2] == right[j - 1] {
                    cost = min(cost, beforeLast[j - 2] + 1)
                }
                row.append(cost)
            }
            beforeLast = last
            last = row
        }
        return last[right.count]
    }
}
