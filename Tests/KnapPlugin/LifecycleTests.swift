import CKnap
import GreeterFixture
import Testing

@testable import KnapPlugin

@Suite("An instance of a plugin") struct LifecycleTests {
    @Test("is prepared, activated, suspended and activated again, and its hooks can log")
    func hooks() async throws {
        try await Stage.run { stage in
            try await stage.greeter.prepare()
            try await stage.greeter.activate()
            try await stage.greeter.suspend()
            try await stage.greeter.activate()
            #expect(stage.greeter.services.records.map(\.message) == ["activated", "activated"])
        }
    }

    @Test("that cannot be created says why in the log and answers with the error's code")
    func refused() throws {
        let host = TestHost()
        let failure = #expect(throws: CreateFailure.self) {
            try host.load(Greeter.self, configuration: #"{"greeting": ""}"#)
        }
        #expect(failure?.status == StatusCode.failedPrecondition.rawValue)
        #expect(failure?.records.first?.fields["error"] == "The setting \"greeting\" is empty.")
        host.stop()
    }

    @Test("whose configuration does not fit its settings is not created")
    func misconfigured() throws {
        let host = TestHost()
        let failure = #expect(throws: CreateFailure.self) {
            try host.load(Greeter.self, configuration: #"{"greeting": 3}"#)
        }
        #expect(failure?.records.first?.fields["error"]?.contains("/greeting") == true)
        host.stop()
    }

    @Test("is gone once it is destroyed, and what it left behind is told so")
    func destroyed() async throws {
        let host = TestHost()
        let probe = try host.load(Probe.self)
        let pluginHost = probe.host
        let binding = try pluginHost.services.bind("greeter.echo")
        weak let plugin = probe.plugin
        probe.destroy()
        #expect(plugin == nil)
        await #expect(throws: PluginError.unloaded) { try await binding.call(bytes: [], parent: nil) }
        await #expect(throws: PluginError.unloaded) { try await pluginHost.timers.sleep(for: .seconds(60)) }
        #expect(throws: PluginError.unloaded) { try pluginHost.stateDirectory }
        pluginHost.log.error("nobody hears this")
        #expect(probe.services.records.isEmpty)
        host.stop()
    }

    @Test("is one of many, each with its own state")
    func instances() async throws {
        let host = TestHost()
        let first = try host.load(Greeter.self, configuration: #"{"greeting": "One"}"#)
        let second = try host.load(Greeter.self, configuration: #"{"greeting": "Two"}"#)
        let probe = try host.load(Probe.self)
        let hello = try probe.host.services.bind("greeter.hello")
        // The route goes to the one that was provided last.
        #expect(try await hello.call(["name": "A"] as JSON, as: JSON.self, parent: nil) == ["text": "Two, A"])
        #expect(first.plugin !== second.plugin)
        for destroy in [first.destroy, second.destroy, probe.destroy] { destroy() }
        host.stop()
    }

    @Test("hands its state to the next one, which refuses what it cannot read")
    func state() async throws {
        try await Stage.run { stage in
            let table = try #require(stage.greeter.extension(KNAP_EXT_STATE, as: knap_plugin_state_t.self))
            #expect(table.schema == 1)
            let instance = stage.greeter.instance
            #expect(Array("41".utf8).withBytes { table.load(instance, 1, $0) } == 0)
            _ = try await stage.bind("greeter.hello").call(["name": "Ada"] as JSON, as: JSON.self, parent: nil)
            let saved = try [UInt8].written("save") { table.save(instance, $0) }
            #expect(String(decoding: saved, as: UTF8.self) == "42")
            let refused = Array("41".utf8).withBytes { table.load(instance, 2, $0) }
            #expect(refused == StatusCode.failedPrecondition.rawValue)
            #expect(stage.greeter.services.records.last?.fields["hook"] == "load")
        }
    }

    @Test("says how it is")
    func health() async throws {
        try await Stage.run { stage in
            let table = try #require(stage.greeter.extension(KNAP_EXT_HEALTH, as: knap_plugin_health_t.self))
            var status: Int32 = -1
            let details = try [UInt8].written("check") {
                status = table.check(stage.greeter.instance, $0)
                return 0
            }
            #expect(status == KNAP_HEALTHY)
            #expect(String(decoding: details, as: UTF8.self) == #"{"greeted":0}"#)
        }
    }

    @Test(
        "offers the tables of the protocols that it conforms to, and no others",
        arguments: [
            (KNAP_EXT_STATE, true, false), (KNAP_EXT_HEALTH, true, false), (KNAP_EXT_DRAIN, false, true),
            (KNAP_EXT_OBSERVE, false, true), (KNAP_EXT_INTERCEPT, false, true), ("knap.unknown/1", false, false),
        ])
    func tables(id: String, greeter: Bool, guardian: Bool) throws {
        let host = TestHost()
        let first = try host.load(Greeter.self)
        let second = try host.load(Guardian.self)
        #expect((first.table.pointee.extension(first.instance, id) != nil) == greeter)
        #expect((second.table.pointee.extension(second.instance, id) != nil) == guardian)
        first.destroy()
        second.destroy()
        host.stop()
    }

    @Test("is exported as one table, with names that end in NUL and methods in their order")
    func exported() {
        let table = exportPlugin(Greeter.self)
        #expect(table == exportPlugin(Greeter.self))
        #expect(String(cString: table.pointee.name) == "greeter")
        #expect(String(cString: table.pointee.version) == "1.0.0")
        let names = (0..<Int(table.pointee.method_count)).map {
            String(cString: table.pointee.methods[$0]!.pointee.name)
        }
        #expect(names == Greeter.methods.map(\.name))
    }
}
