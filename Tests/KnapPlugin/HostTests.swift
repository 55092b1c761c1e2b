import Glibc
import GreeterFixture
import Testing

@testable import KnapPlugin

@Suite("What the host offers a plugin") struct HostTests {
    @Test("a snapshot of a point at once and after every change, only the latest, until the reader stops")
    func registry() async throws {
        try await Stage.run { stage in
            stage.host.registry.publish(["a"])
            let reader = Task { [registry = stage.probe.host.registry] in
                var snapshots: [RegistrySnapshot] = []
                for await snapshot in registry.snapshots(of: "mcp") {
                    snapshots.append(snapshot)
                    if snapshot.contributions.count == 3 { break }
                }
                return snapshots
            }
            #expect(await eventually { stage.host.registry.watchers == 1 })
            for items in [["a", "b"], ["b"], ["a", "b", "c"]] { stage.host.registry.publish(items) }
            let snapshots = await reader.value
            #expect(snapshots.map(\.epoch) == snapshots.map(\.epoch).sorted())
            let last = try #require(snapshots.last)
            #expect(last.epoch == 4)
            #expect(last.contributions.map { $0.item["name"]?.stringValue } == ["a", "b", "c"])
            #expect(last.contributions.first?.plugin == "p" && last.contributions.first?.firstParty == true)
            #expect(stage.host.registry.watchers == 0, "the watch ends with its stream")
        }
    }

    @Test("registry streams that end when their reader is cancelled and when the instance is suspended")
    func registryEnds() async throws {
        try await Stage.run { stage in
            let registry = stage.probe.host.registry
            let read: @Sendable () async -> Void = { for await _ in registry.snapshots(of: "mcp") {} }
            let cancelled = Task(operation: read)
            let suspended = Task(operation: read)
            #expect(await eventually { stage.host.registry.watchers == 2 })
            cancelled.cancel()
            await cancelled.value
            try await stage.probe.suspend()
            await suspended.value
            #expect(stage.host.registry.watchers == 0)
        }
    }

    @Test("sleep until a time, that a cancellation or the suspension cuts short")
    func timers() async throws {
        try await Stage.run { stage in
            let timers = stage.probe.host.timers
            let deadline = Deadline.after(.milliseconds(5))
            try await timers.sleep(until: deadline)
            #expect(deadline.hasPassed)
            try await timers.sleep(until: Deadline(nanoseconds: 0))
            let sleep: @Sendable () async throws -> Void = { try await timers.sleep(for: .seconds(3600)) }
            let cancelled = Task(operation: sleep)
            let suspended = Task(operation: sleep)
            cancelled.cancel()
            await #expect(throws: CancellationError.self) { try await cancelled.value }
            #expect(await eventually { stage.probe.host.activities.count == 1 })
            try await stage.probe.suspend()
            await #expect(throws: CancellationError.self) { try await suspended.value }
        }
    }

    @Test("sleeps by the thousand, cancelled at any moment, each end once")
    func sleepStorm() async throws {
        try await Stage.run { stage in
            let timers = stage.probe.host.timers
            await withTaskGroup { group in
                for number in 0..<1_000 {
                    group.addTask {
                        let task = Task { try await timers.sleep(for: .microseconds(number)) }
                        if number % 2 == 0 { task.cancel() }
                        _ = await task.result
                    }
                }
            }
            #expect(stage.probe.host.activities.count == 0)
        }
    }

    @Test("descriptors that it keeps, gives back as often as asked, and forgets")
    func descriptors() async throws {
        try await Stage.run { stage in
            let descriptors = stage.probe.host.descriptors
            #expect(descriptors.take("log") == nil)
            let null = open("/dev/null", O_RDWR)
            try descriptors.keep("log", null)
            close(null)
            for _ in 0..<2 {
                let taken = try #require(descriptors.take("log"))
                #expect(write(taken, "x", 1) == 1)
                close(taken)
            }
            descriptors.drop("log")
            #expect(descriptors.take("log") == nil)
        }
    }

    @Test("its own directory and a description of services")
    func directory() async throws {
        try await Stage.run { stage in
            let directory = try stage.probe.host.stateDirectory
            #expect(directory == "/state/greeter")
            let services = try stage.probe.host.services.describe("vault")
            #expect(services == [["service": "vault"]])
        }
    }

    @Test("one binding for a method, however often it is bound")
    func bindings() async throws {
        try await Stage.run { stage in
            let echo = try stage.bind("greeter.echo")
            #expect(try stage.bind("greeter.echo") === echo)
            #expect(try stage.bind("greeter.hello") !== echo)
        }
    }

    @Test("what a host lacks is UNIMPLEMENTED and named, never a crash")
    func missing() async throws {
        try await Stage.run { stage in
            let error = await #expect(throws: PluginError.self) {
                try await stage.probe.host.network.connect(to: "example.org", port: 80)
            }
            #expect(error == .missing("knap.net/1"))
        }
    }
}
