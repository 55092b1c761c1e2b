import KnapJSON

/// Files that the application's user has excluded.
struct ExcludedFiles: Sendable {
    private var beginnings: [String] = []
    private var expressions: [RegularExpression] = []

    static let none = ExcludedFiles([])

    /// A filter that cannot be read excludes nothing, as in the application.
    init(_ filters: [String]) {
        for filter in filters where !filter.isEmpty {
            if filter.count > 2, filter.hasPrefix("/"), filter.hasSuffix("/") {
                if let expression = try? RegularExpression(String(filter.dropFirst().dropLast())) { expressions.append(expression) }
            } else {
                beginnings.append(folded(filter))
            }
        }
    }

    var isEmpty: Bool { beginnings.isEmpty && expressions.isEmpty }

    func contains(_ path: String) -> Bool {
        if beginnings.contains(where: folded(path).hasPrefix) { return true }
        return expressions.contains { expression in
            let matcher = RegularExpressionMatcher(expression, ignoresCase: true) {}
            return (try? matcher.firstEnd(in: Array(path.utf8))) != nil
        }
    }

    /// What notes must fulfil to be shown; nil for nothing.
    ///
    /// - Parameter paths: Every path of the vault.
    func condition(among paths: @autoclosure () -> Set<String>) -> SQLCondition? {
        if isEmpty { return nil }
        let excluded = JSON.array(paths().filter(contains).map(JSON.string)).serialized()
        return SQLCondition("note.path NOT IN (SELECT value FROM json_each(?))", [excluded])
    }
}
