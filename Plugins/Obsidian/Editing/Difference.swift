/// What an edit changed.
enum Difference {
    private static let context = 2, most = 60

    /// The lines around the change as they are now, to see that it hit the right place.
    static func shown(from old: String, to new: String) -> String {
        let difference = LineDifference(from: old, to: new)
        guard let first = difference.hunks.first, let last = difference.hunks.last else { return "" }
        let start = max(0, first.new.lowerBound - context)
        let end = min(difference.new.count, last.new.upperBound + context, start + most)
        let text = difference.new[start..<max(start, end)].joined()
        return text.utf8.last == UInt8(ascii: "\n") ? String(text.utf8.dropLast()) ?? text : text
    }

    /// In the unified format; the beginning of one that is too long for an answer.
    static func bounded(_ diff: String) -> String {
        guard var budget = try? TokenBudget(nil) else { return diff }
        let lines = LineDifference.lines(of: diff)
        let shown = budget.fitting(lines) { $0.utf8.count }
        return shown.joined() + (shown.count < lines.count ? "… \(lines.count - shown.count) more lines\n" : "")
    }
}
