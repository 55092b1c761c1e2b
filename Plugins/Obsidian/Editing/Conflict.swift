import KnapPlugin

/// What is answered to a change of a version that is not the current one: the version and the text that there are, so
/// that the caller can go on without reading again.
enum Conflict {
    /// In tokens.
    private static let most = 5_000

    /// - Parameter current: Of the part that was to be changed, or of all; nil for a file that is not there or no text.
    static func error(_ path: VaultPath, expected: String, version: String?, current: String?) -> VaultError {
        var details: JSONObject = ["version": version.map(JSON.string) ?? .null]
        var hint = "read it again"
        if let current, let budget = try? TokenBudget(most) {
            let beginning = budget.beginning(of: current[...])
            details["content"] = .string(String(beginning ?? current[...]))
            if beginning != nil { details["truncated"] = true }
            hint = beginning == nil ? "this is what it has now" : "this is how it begins now, read_note has the rest"
        }
        let state = version.map { "its version is \($0)" } ?? "it is not there any more"
        return VaultError(
            .aborted, "'\(path)' has changed since you read it: \(state), not \(expected); nothing was done, \(hint)",
            details: .object(details))
    }
}
