import KnapPlugin

/// A plugin that has one of everything: the SDK's tests call it, and other tests load it.
public final class Greeter: Plugin {
    public static let name = "greeter", version = "1.0.0"
    public static let methods: [Method<Greeter>] = [
        .call("greeter.hello", hello),
        .call("greeter.count", count),
        .call("greeter.fail", fail),
        .call("greeter.wait", wait),
        .call("greeter.ask", ask),
        .call("greeter.work", work),
        .call("greeter.whoami", whoami),
        .bytes("greeter.echo", echo),
        .inline("greeter.empty", empty),
        .inline("greeter.same", same),
        .stream("greeter.chat", chat),
        .stream("greeter.numbers", numbers),
        .stream("greeter.series", series),
    ]

    struct Settings: Decodable {
        var greeting: String?
    }

    private let host: PluginHost
    private let greeting: String
    private let greeted = Counter()

    public init(host: PluginHost) throws {
        self.host = host
        greeting = try host.configuration(as: Settings.self).greeting ?? "Hello"
        guard !greeting.isEmpty else {
            throw PluginError(code: .failedPrecondition, message: "The setting \"greeting\" is empty.")
        }
    }

    public func activate(_ hook: Call) async throws {
        host.log.info("activated", ["greeted": greeted.value], call: hook)
    }
}

// MARK: - One answer

extension Greeter {
    struct Person: Codable, Sendable {
        var name: String
    }

    struct Greeting: Codable, Sendable {
        var text: String
    }

    func hello(_ person: Person, _ call: Call) async throws -> Greeting {
        greeted.add()
        host.log.info("greeted", ["name": person.name], call: call)
        return Greeting(text: "\(greeting), \(person.name)")
    }

    /// How many were greeted, by this generation and those before it.
    func count(_ input: Empty, _ call: Call) async throws -> Int { greeted.value }

    struct Failure: Codable, Sendable {
        var code: String?
        var message: String
    }

    struct Unexpected: Error, CustomStringConvertible {
        let description: String
    }

    /// Fails with the given code, or with an error of its own.
    func fail(_ failure: Failure, _ call: Call) async throws {
        guard let name = failure.code else { throw Unexpected(description: failure.message) }
        let code = StatusCode.allCases.first { $0.description == name }
        throw PluginError(code: code ?? .unknown, message: failure.message, details: ["asked": .string(name)])
    }

    /// Waits until it is cancelled.
    func wait(_ input: Empty, _ call: Call) async throws {
        call.progress(0, of: 1, "waiting")
        while true { try await host.timers.sleep(for: .seconds(60)) }
    }

    struct Question: Codable, Sendable {
        var method: String
        var input: JSON
    }

    /// Asks another method and gives its answer back.
    func ask(_ question: Question, _ call: Call) async throws -> JSON {
        try await host.services.bind(question.method).call(question.input, parent: call)
    }

    struct Work: Codable, Sendable {
        var steps: Int
    }

    /// Tells the caller of every step.
    func work(_ work: Work, _ call: Call) async throws {
        for step in 1...max(1, work.steps) {
            call.progress(Double(step), of: Double(work.steps), "step \(step)")
        }
        call.log(.info, "done", ["steps": work.steps])
    }

    struct Identity: Codable, Sendable, Equatable {
        var principal: String
        var caller: String
        var method: String
        var trace: String?
        var deadline: UInt64?
    }

    func whoami(_ input: Empty, _ call: Call) async throws -> Identity {
        Identity(
            principal: call.principal, caller: call.caller, method: call.method, trace: call.trace,
            deadline: call.deadline?.nanoseconds)
    }
}

// MARK: - Bytes

extension Greeter {
    func echo(_ body: [UInt8], _ call: Call) async throws -> Reply { Reply(body, contentType: "text/plain") }

    func empty(_ body: UnsafeRawBufferPointer, _ reply: inout InlineReply) {}

    func same(_ body: UnsafeRawBufferPointer, _ reply: inout InlineReply) {
        guard !body.isEmpty else { return reply.fail(.invalidArgument, "The body is empty.") }
        reply.succeed(body, contentType: "text/plain")
    }
}

// MARK: - Streams

extension Greeter {
    /// Sends back every item as it comes, and in the end how many there were.
    func chat(_ input: JSON, _ call: DuplexCall) async throws -> Int {
        var count = 0
        for try await item in call.items {
            try await call.send(item)
            count += 1
        }
        return count
    }

    struct Range: Codable, Sendable {
        var to: Int
    }

    /// Sends the numbers from 1.
    func numbers(_ range: Range, _ call: DuplexCall) async throws {
        for number in 1...max(1, range.to) { try await call.send(encoding: number) }
    }
}

extension Greeter {
    struct Series: Codable, Sendable {
        var from: Int
        var to: Int
        /// After how many numbers the stream moves.
        var piece: Int
        var saysWhere: Bool
    }

    /// Sends the numbers in pieces, as if the plugin were replaced after each.
    func series(_ series: Series, _ call: DuplexCall) async throws {
        for number in series.from...series.to {
            if number == series.from + series.piece {
                throw PluginError.moved(resume: series.saysWhere ? ["from": .number(JSONNumber(number))] : nil)
            }
            try await call.send(encoding: number)
        }
    }
}

// MARK: - What lasts

extension Greeter: Stateful {
    public static let stateSchema: UInt32 = 1

    public func save() throws -> [UInt8] { Array("\(greeted.value)".utf8) }

    public func load(_ state: [UInt8], schema: UInt32) throws {
        guard schema == 1, let count = Int(String(decoding: state, as: UTF8.self)) else {
            throw PluginError(code: .failedPrecondition, message: "The state of schema \(schema) is not a count.")
        }
        greeted.set(count)
    }
}

extension Greeter: HealthReporting {
    public var health: Health { Health(.healthy, ["greeted": .number(JSONNumber(greeted.value))]) }
}
