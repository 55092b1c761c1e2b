import Dispatch

/// Where a pipeline computes: on a thread beside those that serve calls.
final class ProcessingQueue: SerialExecutor {
    private let queue = DispatchQueue(label: "knap.obsidian.processing", qos: .utility)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
