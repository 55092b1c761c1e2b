import KnapPlugin

/// What changes would do, as far as it fits into an answer.
struct Preview {
    /// In the unified format.
    let diff: String
    /// How many files more there are, or are not shown to their ends; nil for none.
    let more: Int?

    init(_ changes: [FileChange], _ budget: TokenBudget) {
        var budget = budget
        var diff = ""
        var more: Int?
        for (place, change) in changes.enumerated() {
            let lines = LineDifference.lines(of: ObsidianPlugin.diff(of: [change]))
            let shown = budget.fitting(lines) { $0.utf8.count }
            diff += shown.joined()
            if shown.count < lines.count {
                more = changes.count - place
                break
            }
        }
        (self.diff, self.more) = (diff, more)
    }
}

/// The paths of files that were changed, as many as an answer may well name.
struct NamedFiles {
    private static let most = 500

    let paths: [String]
    let more: Int?

    init(_ changes: [FileChange]) {
        let all = changes.filter { $0.content != .kept && !$0.isFolder }.map(\.path.text)
        paths = Array(all.prefix(Self.most))
        more = all.count > Self.most ? all.count - Self.most : nil
    }
}
