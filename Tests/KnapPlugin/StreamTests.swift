import GreeterFixture
import Testing

@testable import KnapPlugin

@Suite("A stream") struct StreamTests {
    static let input = Array("{}".utf8)

    @Test("gives every item back in order, whatever the window", arguments: [1, 2, 16, 1000])
    func echo(window: Int) async throws {
        try await Stage.run { stage in
            let call = try await stage.bind("greeter.chat").open(Self.input, parent: nil, window: window)
            async let sent: Void = {
                for number in 0..<5_000 { try await call.send(Array("\(number)".utf8)) }
                call.halfClose()
            }()
            var next = 0
            for try await item in call.items {
                #expect(item.text == "\(next)")
                next += 1
            }
            try await sent
            #expect(next == 5_000)
            #expect(try await call.result().text == "5000")
        }
    }

    private func series(_ series: String, _ stage: Stage) throws -> MovingItems {
        try stage.bind("greeter.series").items(parent: nil, window: 4) { resume in
            let from = resume?["from"]?.intValue ?? 1
            return Array(#"{"from": \#(from), \#(series)}"#.utf8)
        }
    }

    @Test("goes on where it stopped when its plugin is replaced, and loses and doubles nothing", arguments: [1, 3, 10, 100])
    func moving(piece: Int) async throws {
        try await Stage.run { stage in
            var numbers: [String] = []
            for try await item in try series(#""to": 50, "piece": \#(piece), "saysWhere": true"#, stage) { numbers.append(item.text) }
            #expect(numbers == (1...50).map { "\($0)" })
        }
    }

    @Test("ends with the error when its plugin does not say where to go on")
    func movedForGood() async throws {
        try await Stage.run { stage in
            var numbers: [String] = []
            let error = await #expect(throws: PluginError.self) {
                for try await item in try series(#""to": 50, "piece": 3, "saysWhere": false"#, stage) { numbers.append(item.text) }
            }
            #expect(error?.isMoved == true && error?.resume == nil)
            #expect(numbers == ["1", "2", "3"])
        }
    }

    @Test("waits for a reader that does not read, and goes on when it does")
    func backPressure() async throws {
        try await Stage.run { stage in
            let call = try await stage.bind("greeter.numbers")
                .open(Array(#"{"to": 100}"#.utf8), parent: nil, window: 4)
            var items = call.items.makeAsyncIterator()
            #expect(try await items.next()?.text == "1")
            // Half a window is given back at a time, so at most one window is ahead of what was read.
            #expect(await eventually { call.waiting == 3 })
            #expect(stage.greeter.counts.in_flight == 1)
            var last = "1"
            while let item = try await items.next() {
                #expect(call.waiting <= 4)
                last = item.text
            }
            #expect(last == "100")
            _ = try await call.result()
        }
    }

    @Test("tells progress and log records while a call lasts, without credit")
    func progress() async throws {
        try await Stage.run { stage in
            let call = try await stage.bind("greeter.work").open(Array(#"{"steps": 3}"#.utf8), parent: nil, window: 1)
            var kinds: [Item.Kind] = []
            var last: JSON = .null
            for try await item in call.items {
                kinds.append(item.kind)
                last = try item.decoded()
            }
            #expect(kinds == [.progress, .progress, .progress, .log])
            #expect(last == ["level": "info", "message": "done", "steps": "3"])
        }
    }

    @Test("that fails throws from its items and from its result")
    func failure() async throws {
        try await Stage.run { stage in
            let call = try await stage.bind("greeter.chat").open(Array("{".utf8), parent: nil)
            await #expect(throws: PluginError.self) { for try await _ in call.items {} }
            let error = await #expect(throws: PluginError.self) { try await call.result() }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test("that is cancelled wakes a sender that waits for credit and a reader that waits for items")
    func cancelled() async throws {
        try await Stage.run { stage in
            let call = try await stage.bind("greeter.chat").open(Self.input, parent: nil, window: 1)
            let sender = Task { while true { try await call.send([1]) } }
            #expect(await eventually { call.waiting == 1 })
            call.cancel()
            let error = await #expect(throws: PluginError.self) { try await sender.value }
            #expect(error?.code == .cancelled)
            await #expect(throws: PluginError.self) { for try await _ in call.items {} }
        }
    }

    @Test("stops a task that is cancelled although there is always a next item")
    func cancelledAmongItems() async throws {
        let inbox = Inbox(window: 4)
        for _ in 0..<4 { inbox.push(Item([1])) }
        let reader = Task {
            while !Task.isCancelled { await Task.yield() }
            return try await inbox.next { _ in }
        }
        reader.cancel()
        let error = await #expect(throws: PluginError.self) { try await reader.value }
        #expect(error?.code == .cancelled)
    }

    @Test("keeps nothing of what was taken, also where there is always a next item")
    func takenItems() async throws {
        let inbox = Inbox(window: 1 << 20)
        for number in 0..<2 { inbox.push(Item([UInt8(number)])) }
        for number in 2..<100_000 {
            inbox.push(Item([UInt8(truncatingIfNeeded: number)]))
            #expect(try await inbox.next { _ in }?.body == [UInt8(truncatingIfNeeded: number - 2)])
            #expect(inbox.count == 2)
        }
        #expect(inbox.held < 1000)
    }

    @Test("stops a task that waits for an item when the task is cancelled, and the call lives on")
    func cancelledReader() async throws {
        try await Stage.run { stage in
            let call = try await stage.bind("greeter.chat").open(Self.input, parent: nil)
            let reader = Task {
                var items = call.items.makeAsyncIterator()
                return try await items.next()
            }
            reader.cancel()
            await #expect(throws: PluginError.self) { try await reader.value }
            call.halfClose()
            #expect(try await call.result().text == "0")
        }
    }
}
