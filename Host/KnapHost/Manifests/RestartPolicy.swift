/// When and how a plugin that ended is started again, after Erlang/OTP's supervisors.
///
/// The first restart comes at once, the second after `backoffInitial`, each later one after twice the wait before it, up
/// to `backoffMaximum`. A plugin that needs more than `maximumRestarts` within `period` is given up:
///
///     fails  fails    fails            fails                                    fails again: given up
///     |-0----|--wait--|--2 * wait------|--4 * wait------------------------------|
///     restart 1       2                3                                        4 = maximumRestarts
///     |<------------------- less than `period`, or the limit can never trip --------------->|
package struct RestartPolicy: Sendable, Hashable {
    /// Which ends lead to a restart: every one, only those with an error, none.
    package enum Kind: String, Sendable, Hashable, CaseIterable { case permanent, transient, temporary }
    /// What is restarted: it alone, or also what requires it.
    package enum Scope: String, Sendable, Hashable, CaseIterable { case `self`, dependants }

    package var kind = Kind.permanent
    package var scope = Scope.`self`
    package var maximumRestarts = 5
    package var period = Duration.seconds(60)
    package var backoffInitial = Duration.milliseconds(100)
    package var backoffMaximum = Duration.seconds(30)

    /// What follows from an end.
    package enum Decision: Sendable, Hashable {
        case restart(after: Duration)
        /// It may end like this, and stays ended.
        case rest
        /// It ends too often.
        case giveUp
    }

    /// `isOrderly`: it ended by itself, without an error. `recent`: the restarts within the period before.
    package func decision(isOrderly: Bool, recent: Int) -> Decision {
        switch kind {
        case .temporary: return .rest
        case .transient where isOrderly: return .rest
        case .transient, .permanent:
            return recent < maximumRestarts ? .restart(after: delay(beforeRestart: recent + 1)) : .giveUp
        }
    }

    /// The wait before the restart with this number; the first is 1.
    package func delay(beforeRestart number: Int) -> Duration {
        guard number > 1 else { return .zero }
        // 2^40 of any wait is past every maximum that a manifest can state.
        let doublings = min(number - 2, 40)
        return min(backoffInitial * (1 << doublings), backoffMaximum)
    }

    /// How long a plugin that fails at every start takes to reach the limit: the sum of the waits.
    package var fastestGiveUp: Duration {
        guard maximumRestarts > 1 else { return .zero }
        return (2...maximumRestarts).reduce(.zero) { $0 + delay(beforeRestart: $1) }
    }
}
