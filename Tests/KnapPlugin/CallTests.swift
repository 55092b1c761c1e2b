import GreeterFixture
import KnapPlugin
import Testing

@Suite("A call to a plugin") struct CallTests {
    @Test("from a value to a value is decoded, served and encoded")
    func typed() async throws {
        try await Stage.run(configuration: #"{"greeting": "Good day"}"#) { stage in
            let answer = try await stage.bind("greeter.hello").call(["name": "Ada"] as JSON, as: JSON.self, parent: nil)
            #expect(answer == ["text": "Good day, Ada"])
        }
    }

    @Test("of bytes gives the bytes and their content type back", arguments: [0, 1, 100, 100_000, 3_000_000])
    func bytes(size: Int) async throws {
        let body = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
        try await Stage.run { stage in
            let reply = try await stage.bind("greeter.echo").call(bytes: body, parent: nil)
            #expect(reply == Reply(body, contentType: "text/plain"))
        }
    }

    @Test("of an inline method is answered before it returns, or fails with its message")
    func inline() async throws {
        try await Stage.run { stage in
            let empty = try await stage.bind("greeter.empty").call(bytes: [1], parent: nil)
            #expect(empty == Reply())
            let same = try await stage.bind("greeter.same").call(bytes: [1, 2, 3], parent: nil)
            #expect(same == Reply([1, 2, 3], contentType: "text/plain"))
            await #expect(throws: PluginError(code: .invalidArgument, message: "The body is empty.")) {
                try await stage.bind("greeter.same").call(bytes: [], parent: nil)
            }
        }
    }

    @Test("fails with the code, message and details that the method threw", arguments: StatusCode.allCases)
    func failure(code: StatusCode) async throws {
        try await Stage.run { stage in
            let failure: JSON = ["code": .string("\(code)"), "message": "no"]
            await #expect(throws: PluginError(code: code, message: "no", details: ["asked": .string("\(code)")])) {
                try await stage.bind("greeter.fail").call(failure, as: JSON.self, parent: nil)
            }
        }
    }

    @Test("is INTERNAL with the description of any other error, and CANCELLED for a CancellationError")
    func otherErrors() async throws {
        try await Stage.run { stage in
            await #expect(throws: PluginError(code: .internal, message: "disk on fire")) {
                try await stage.bind("greeter.fail").call(
                    ["message": "disk on fire"] as JSON, as: JSON.self, parent: nil)
            }
            let error = await #expect(throws: PluginError.self) {
                try await stage.bind("probe.cancelled").call(bytes: [], parent: nil)
            }
            #expect(error?.code == .cancelled)
        }
    }

    @Test(
        "is INVALID_ARGUMENT when its input does not fit, and says where",
        arguments: [(#"{"name": 3}"#, "/name"), ("{}", "name"), ("[]", "object"), ("{", "not JSON"), ("", "name")])
    func invalidInput(body: String, expected: String) async throws {
        try await Stage.run { stage in
            let error = await #expect(throws: PluginError.self) {
                try await stage.bind("greeter.hello").call(bytes: Array(body.utf8), parent: nil)
            }
            #expect(error?.code == .invalidArgument)
            #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
        }
    }

    @Test("to a method that nobody provides is UNAVAILABLE")
    func nobody() async throws {
        try await Stage.run { stage in
            let error = await #expect(throws: PluginError.self) {
                try await stage.bind("nobody.home").call(bytes: [], parent: nil)
            }
            #expect(error?.code == .unavailable)
        }
    }

    @Test("made for a caller carries the caller's principal, trace and deadline, whatever it says itself")
    func parent() async throws {
        let deadline = Deadline.after(.seconds(30))
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        try await Stage.run { stage in
            let reply = try await stage.bind("probe.forward")
                .call(bytes: [], parent: nil, principal: "user:ada", trace: trace, deadline: deadline)
            let identity = try JSON.parse(reply.body)
            #expect(identity["principal"] == "user:ada")
            #expect(identity["caller"] == "probe")
            #expect(identity["method"] == "greeter.whoami")
            #expect(identity["trace"] == .string(trace))
            #expect(identity["deadline"] == .number(JSONNumber(deadline.nanoseconds)))
        }
    }

    @Test("can be made by a method that serves one, and two hundred at once all get their own answer")
    func many() async throws {
        try await Stage.run { stage in
            let ask = try stage.bind("greeter.ask")
            try await withThrowingTaskGroup { group in
                for number in 0..<200 {
                    group.addTask {
                        let name = JSON.string("\(number)")
                        let answer = try await ask.call(
                            ["method": "greeter.hello", "input": ["name": name]] as JSON, as: JSON.self, parent: nil)
                        #expect(answer == ["text": .string("Hello, \(number)")])
                    }
                }
                try await group.waitForAll()
            }
            let count = try await stage.bind("greeter.count").call(Empty(), as: Int.self, parent: nil)
            #expect(count == 200)
        }
    }

    @Test("is logged with its fields and its handle")
    func log() async throws {
        try await Stage.run { stage in
            _ = try await stage.bind("greeter.hello").call(["name": "Ada"] as JSON, as: JSON.self, parent: nil)
            let record = stage.greeter.services.records.first
            #expect(record?.message == "greeted")
            #expect(record?.fields == ["name": "Ada"])
            #expect(record?.call != 0)
        }
    }
}
