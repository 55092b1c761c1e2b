/// Makes one ranking of several that know nothing of each other's scores: reciprocal rank fusion (Cormack, Clarke and
/// Büttcher, SIGIR 2009).
enum RankFusion {
    /// How little it counts to be first rather than second.
    static let k = 60.0

    /// Best first; of equals, what the earlier rankings have further in front.
    static func fuse(_ rankings: [[String]]) -> [String] {
        var scores: [String: Double] = [:]
        var order: [String: Int] = [:]
        for ranking in rankings {
            for (place, name) in ranking.enumerated() {
                scores[name, default: 0] += 1 / (k + Double(place + 1))
                if order[name] == nil { order[name] = order.count }
            }
        }
        return scores.sorted { left, right in
            left.value != right.value
                ? left.value > right.value : order[left.key, default: 0] < order[right.key, default: 0]
        }.map(\.key)
    }
}
