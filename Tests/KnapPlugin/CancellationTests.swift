import GreeterFixture
import Testing

@testable import KnapPlugin

@Suite("Giving up a call") struct CancellationTests {
    @Test("by cancelling the task ends it at once and cancels the method's task")
    func cancelled() async throws {
        try await Stage.run { stage in
            let wait = try stage.bind("greeter.wait")
            let task = Task { try await wait.call(bytes: [], parent: nil) }
            #expect(await eventually { stage.greeter.counts.in_flight == 1 })
            task.cancel()
            let error = await #expect(throws: PluginError.self) { try await task.value }
            #expect(error?.code == .cancelled)
        }
    }

    @Test("by a task that was cancelled before it began ends it too")
    func cancelledBefore() async throws {
        try await Stage.run { stage in
            let wait = try stage.bind("greeter.wait")
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                return try await wait.call(bytes: [], parent: nil)
            }
            task.cancel()
            let error = await #expect(throws: PluginError.self) { try await task.value }
            #expect(error?.code == .cancelled)
        }
    }

    @Test("by a deadline is DEADLINE_EXCEEDED and cancels the method's task")
    func deadline() async throws {
        try await Stage.run { stage in
            let error = await #expect(throws: PluginError.self) {
                try await stage.bind("greeter.wait").call(bytes: [], parent: nil, deadline: .after(.milliseconds(20)))
            }
            #expect(error?.code == .deadlineExceeded)
        }
    }

    @Test("ends the calls made on its behalf")
    func chain() async throws {
        try await Stage.run { stage in
            let ask = try stage.bind("greeter.ask")
            let task = Task {
                try await ask.call(
                    ["method": "greeter.wait", "input": [:]] as JSON, as: JSON.self, parent: nil)
            }
            #expect(await eventually { stage.greeter.counts.in_flight == 2 })
            task.cancel()
            _ = await task.result
        }
    }

    @Test("by letting go of it ends it")
    func dropped() async throws {
        try await Stage.run { stage in
            var call: OutgoingCall? = try await stage.bind("greeter.chat").open(Array("{}".utf8), parent: nil)
            try await call?.send([1])
            #expect(await eventually { stage.greeter.counts.in_flight == 1 })
            call = nil
        }
    }

    @Test("over and over, at any moment, completes each call exactly once")
    func storm() async throws {
        try await Stage.run { stage in
            let wait = try stage.bind("greeter.wait")
            let echo = try stage.bind("greeter.echo")
            await withTaskGroup { group in
                for number in 0..<500 {
                    group.addTask {
                        let task = Task {
                            try await (number % 2 == 0 ? wait : echo).call(
                                bytes: [], parent: nil, deadline: .after(.microseconds(number * 10)))
                        }
                        for _ in 0..<number % 7 { await Task.yield() }
                        task.cancel()
                        _ = await task.result
                    }
                }
            }
        }
    }
}
