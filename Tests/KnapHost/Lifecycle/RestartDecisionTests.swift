import CKnap
import Testing

@testable import KnapHost

/// What follows from the end of a plugin's process, and from what it says of its health.
@Suite struct RestartDecisionTests {
    private static func policy(_ kind: RestartPolicy.Kind) -> RestartPolicy {
        var policy = RestartPolicy()
        policy.kind = kind
        policy.maximumRestarts = 3
        policy.backoffInitial = .milliseconds(100)
        return policy
    }

    static let cases: [(RestartPolicy.Kind, isOrderly: Bool, recent: Int, RestartPolicy.Decision)] = [
        (.permanent, false, 0, .restart(after: .zero)),
        (.permanent, true, 0, .restart(after: .zero)),
        (.permanent, true, 1, .restart(after: .milliseconds(100))),
        (.permanent, false, 2, .restart(after: .milliseconds(200))),
        (.permanent, false, 3, .giveUp),
        (.transient, false, 0, .restart(after: .zero)),
        (.transient, false, 3, .giveUp),
        (.transient, true, 0, .rest),
        (.transient, true, 3, .rest),
        (.temporary, false, 0, .rest),
        (.temporary, true, 0, .rest),
    ]

    @Test(arguments: cases)
    func anEndIsFollowedByWhatThePolicySays(
        _ kind: RestartPolicy.Kind, isOrderly: Bool, recent: Int, _ decision: RestartPolicy.Decision
    ) {
        #expect(Self.policy(kind).decision(isOrderly: isOrderly, recent: recent) == decision)
    }

    @Test func onlyFailuresInARowOfOneProcessCount() {
        let (well, ill) = (HealthAnswer((KNAP_HEALTHY.status, "")), HealthAnswer((KNAP_UNHEALTHY.status, "no disk")))
        let (weak, silent) = (HealthAnswer((KNAP_DEGRADED.status, "slow")), HealthAnswer(nil))
        var failures = HealthFailures(most: 3)
        let asked: [(HealthAnswer, Int32, HealthFailures.Verdict)] = [
            (ill, 1, .unwell), (ill, 1, .unwell), (well, 1, .well), (ill, 1, .unwell), (ill, 2, .unwell), (silent, 1, .unwell),
            (weak, 2, .well), (ill, 1, .tooOften), (ill, 2, .unwell),
        ]
        for (answer, process, verdict) in asked { #expect(failures.count(answer, of: process) == verdict) }
        failures.forget(except: [2])
        #expect(failures.count(ill, of: 1) == .unwell)
        #expect(failures.count(ill, of: 2) == .unwell)
    }
}
