import Synchronization

/// Tells whoever follows a vault which of its files are not what they were, whoever changed them.
final class VaultChanges: Sendable {
    private struct State {
        var followers: [@Sendable (Set<String>) -> Void] = []
        /// What the files were when they were last told of; an editor's save and the index's second look at what Knap
        /// wrote itself are one change.
        var told: [String: String] = [:]
    }

    /// Beyond that it is forgotten what was told, and something may be told twice.
    private static let remembered = 10_000

    private let state = Mutex(State())

    /// Has `follower` called with the paths of changed files, in no order; at once, so it must be quick.
    func follow(_ follower: @escaping @Sendable (Set<String>) -> Void) { state.withLock { $0.followers.append(follower) } }

    /// Tells of files and what they are now: a version, or "" for one that is gone.
    func tell(_ files: some Sequence<(path: String, version: String)>) {
        let (news, followers) = state.withLock { state in
            var news: Set<String> = []
            for file in files where state.told[file.path] != file.version {
                if state.told.count >= Self.remembered { state.told.removeAll() }
                state.told[file.path] = file.version
                news.insert(file.path)
            }
            return (news, state.followers)
        }
        for follower in followers where !news.isEmpty { follower(news) }
    }

    /// Calls the followers with no file: the index is complete.
    func tellOfCompletion() {
        for follower in state.withLock({ $0.followers }) { follower([]) }
    }
}
