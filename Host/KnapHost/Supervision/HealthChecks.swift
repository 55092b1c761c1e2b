import CKnap
import KnapJSON
import KnapPlugin
import Logging

/// Asks plugins whose manifest has a `health` period how they are, as long as they serve.
///
/// A worker that is unhealthy too often in a row is ended, and started again as its restart policy says. Code in the host's
/// process cannot be ended: it is reported.
extension Host {
    func watchHealth(of instance: Instance) {
        guard let check = instance.manifest.health else { return }
        records[instance.manifest.name]?.health = nil
        Task { [weak self] in
            var failures = HealthFailures(most: check.failures)
            while true {
                try? await Task.sleep(for: check.period)
                guard let self, await self.serves(instance) else { return }
                await self.askHealth(of: instance, &failures)
            }
        }
    }

    private func serves(_ instance: Instance) -> Bool { records[instance.manifest.name]?.instance === instance && !isStopping }

    private nonisolated func askHealth(of instance: Instance, _ failures: inout HealthFailures) async {
        let codes = instance.code.inWorkers
        if codes.isEmpty {
            let answer = HealthAnswer(await instance.code.health())
            return await note(answer, failures.count(answer, of: 0), instance)
        }
        for code in codes where code.ended == nil {
            let answer = HealthAnswer(await code.health())
            let verdict = failures.count(answer, of: code.process.pid)
            await note(answer, verdict, instance)
            if verdict == .tooOften { code.process.fail("it is unhealthy: \(answer.text)") }
        }
        failures.forget(except: codes.map(\.process.pid))
    }

    private func note(_ answer: HealthAnswer, _ verdict: HealthFailures.Verdict, _ instance: Instance) {
        let name = instance.manifest.name
        guard serves(instance) else { return }
        let text = verdict == .well ? answer.word : "\(answer.word): \(answer.text)"
        if records[name]?.health == text { return }
        records[name]?.health = text
        let level: Logger.Level = verdict == .well ? .info : .warning
        logger.log(level: level, "health", metadata: ["plugin": .string(name), "says": .string(text)])
    }
}

/// What a plugin said, or that it said nothing.
struct HealthAnswer: Sendable, Equatable {
    var word: String
    var text: String

    init(_ answer: (status: Int32, report: String)?) {
        text = answer?.report ?? "it gave no answer"
        word =
            switch answer?.status {
            case KNAP_HEALTHY.status: "healthy"
            case KNAP_DEGRADED.status: "degraded"
            default: "unhealthy"
            }
    }

    var isFailure: Bool { word == "unhealthy" }
}

/// Counts failures in a row, of each process apart.
struct HealthFailures: Sendable {
    enum Verdict: Sendable, Equatable { case well, unwell, tooOften }

    let most: Int
    private var counts: [Int32: Int] = [:]

    init(most: Int) { self.most = most }

    mutating func count(_ answer: HealthAnswer, of process: Int32) -> Verdict {
        guard answer.isFailure else {
            counts[process] = nil
            return .well
        }
        counts[process, default: 0] += 1
        return counts[process, default: 0] >= most ? .tooOften : .unwell
    }

    mutating func forget(except processes: [Int32]) { counts = counts.filter { processes.contains($0.key) } }
}
