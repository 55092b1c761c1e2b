import Glibc
import Testing

@testable import KnapHost

/// What the host says of a worker's end, from what the kernel and the worker tell.
@Suite struct WorkerDeathTests {
    private static func crash(_ cause: Crash.Cause, data: Int = 0, limit: Int? = nil) -> Crash {
        var crash = Crash(timeMS: 0, cause: cause, culprit: nil, activity: "test.hello")
        crash.place = "hello+0x10"
        crash.dataBytes = data
        crash.dataLimit = limit
        return crash
    }

    private static func signal(_ number: Int32) -> Crash.Cause { .signal(Crash.Signal(number: number)) }

    @Test(arguments: [
        (WorkerDeath(status: 0, crash: nil), "its process ended by itself"),
        (WorkerDeath(status: 4, crash: nil), "its process ended with exit code 4"),
        (WorkerDeath(status: -SIGKILL, crash: nil), "its process was ended by SIGKILL"),
        (
            WorkerDeath(status: -SIGKILL, crash: nil, memoryLimit: 64 << 20),
            "it ran out of memory: it had all of the 64 MiB that it may have"
        ),
        // Somebody else's end came first.
        (WorkerDeath(status: 4, crash: nil, memoryLimit: 64 << 20), "its process ended with exit code 4"),
        (WorkerDeath(status: -64, crash: nil), "its process was ended by signal 64"),
        (
            WorkerDeath(status: -SIGSEGV, crash: crash(signal(SIGSEGV))),
            "its process was ended by SIGSEGV at hello+0x10 in test.hello"
        ),
        (
            WorkerDeath(status: 3, crash: crash(.exit(3))),
            "its process ended with exit code 3: a call of exit(3) in test.hello"
        ),
        (
            WorkerDeath(status: -SIGSEGV, crash: crash(signal(SIGSEGV), data: 250 << 20, limit: 256 << 20)),
            "it ran out of memory: it had 250 MiB of the 256 MiB that it may have (SIGSEGV at hello+0x10 in test.hello)"
        ),
    ])
    func theEndIsNamed(_ death: WorkerDeath, _ reason: String) { #expect(death.reason == reason) }

    @Test(arguments: [
        WorkerDeath(status: -SIGKILL, crash: crash(signal(SIGSEGV))),
        WorkerDeath(status: -SIGKILL, crash: crash(signal(SIGSEGV), data: 1, limit: 1)),
        WorkerDeath(status: -SIGKILL, crash: crash(.exit(3))),
        WorkerDeath(status: -SIGKILL, crash: crash(.killed)),
    ])
    func whatTheProcessWroteCountsOnlyIfTheKernelAgrees(_ death: WorkerDeath) {
        #expect(death.reason == "its process was ended by SIGKILL")
    }
}
