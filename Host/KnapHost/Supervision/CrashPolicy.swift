/// What the host does about a crash of the host before it.
///
///     nobody can be named            safe mode: this once, only what ships with Knap starts
///     a plugin from elsewhere        confined: that content runs in a worker from now on, or not at all
///     one that ships with Knap       tolerated twice within ten minutes, confined the third time
///     no trace, but a hook ran       of one from elsewhere: confined when the same content was at it the time before
enum CrashPolicy {
    enum Verdict: Sendable, Hashable { case safeMode, confine, tolerate }

    /// Within which crashes are one story.
    static let periodMS: Int64 = 10 * 60 * 1000
    static let toleratedOfFirstParty = 2

    /// `earlier`: what was known before this crash, newest last.
    static func verdict(on crash: CrashLog.Entry, after earlier: [CrashLog.Entry], isFirstParty: Bool) -> Verdict {
        if crash.plugin.isEmpty { return .safeMode }
        let same = earlier.filter { $0.digest == crash.digest && crash.timeMS - $0.timeMS < periodMS }
        // The power may have gone; a plugin that ends the host at each start is at it again the next time.
        if crash.isGuess { return !isFirstParty && same.contains(where: \.isGuess) ? .confine : .tolerate }
        return isFirstParty && same.count < toleratedOfFirstParty ? .tolerate : .confine
    }
}
