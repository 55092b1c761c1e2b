import Synchronization

/// An issuer's keys, kept and read anew when they are old or one is missing.
final class KeyStore: Sendable {
    /// The keys at one moment. The generation rises when they are read anew.
    struct Snapshot: Sendable {
        var keys: VerificationKeys
        var generation: Int
    }

    enum Refreshment: Sendable {
        case done
        /// They were read so often that whoever asks must wait.
        case tooOften
        case failed(String)
    }

    private struct State {
        var snapshot: Snapshot?
        var readAt: ContinuousClock.Instant?
        var reading: Task<Refreshment, Never>?
        var allowance = Allowance(burst: 4, interval: .seconds(15))
    }

    /// Past it they are read anew, so that a key that was withdrawn is not taken for longer.
    private static let freshFor = Duration.seconds(600)
    /// How long they are good for while the issuer cannot be reached.
    private static let goodFor = Duration.seconds(24 * 3600)

    private let read: @Sendable () async throws -> VerificationKeys
    private let report: @Sendable (String) -> Void
    private let state = Mutex(State())

    /// - Parameter report: Told why the keys could not be read.
    init(read: @escaping @Sendable () async throws -> VerificationKeys, report: @escaping @Sendable (String) -> Void) {
        self.read = read
        self.report = report
    }

    /// The keys, if there are any; when they are old, new ones are on their way.
    func current(now: ContinuousClock.Instant = .now) -> Snapshot? {
        let (snapshot, isOld) = state.withLock { state -> (Snapshot?, Bool) in
            guard let readAt = state.readAt, now - readAt < Self.goodFor else { return (nil, false) }
            return (state.snapshot, now - readAt > Self.freshFor && state.reading == nil)
        }
        if isOld { begin(now) }
        return snapshot
    }

    /// Reads the keys anew, unless that was done too often. Those who ask meanwhile wait for the same reading.
    func refresh(now: ContinuousClock.Instant = .now) async -> Refreshment { await begin(now)?.value ?? .tooOften }

    @discardableResult
    private func begin(_ now: ContinuousClock.Instant) -> Task<Refreshment, Never>? {
        state.withLock { state in
            if let reading = state.reading { return reading }
            guard state.allowance.take(now) else { return nil }
            let reading = Task { await self.readAnew() }
            state.reading = reading
            return reading
        }
    }

    private func readAnew() async -> Refreshment {
        let outcome: Result<VerificationKeys, any Error>
        do { outcome = .success(try await read()) } catch { outcome = .failure(error) }
        let refreshment: Refreshment = state.withLock { state in
            state.reading = nil
            switch outcome {
            case .success(let keys):
                state.snapshot = Snapshot(keys: keys, generation: (state.snapshot?.generation ?? 0) + 1)
                state.readAt = .now
                return .done
            case .failure(let error): return .failed("\(error)")
            }
        }
        if case .failed(let reason) = refreshment { report(reason) }
        return refreshment
    }
}

/// So many at once and then one at a time: strangers with invented keys cannot make the issuer busy.
struct Allowance: Sendable {
    private let burst: Int
    private let interval: Duration
    private var left: Int
    private var filledAt: ContinuousClock.Instant?

    init(burst: Int, interval: Duration) {
        self.burst = burst
        self.interval = interval
        left = burst
    }

    mutating func take(_ now: ContinuousClock.Instant) -> Bool {
        let since = now - (filledAt ?? now)
        let earned = Int(since / interval)
        if earned > 0 || filledAt == nil {
            left = min(burst, left + earned)
            // What is left of an interval goes on counting.
            filledAt = (filledAt ?? now) + interval * earned
        }
        guard left > 0 else { return false }
        left -= 1
        return true
    }
}
