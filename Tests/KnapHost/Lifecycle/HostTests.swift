import Glibc
import KnapJSON
import KnapPlugin
import Testing

@testable import KnapHost

@Suite("The host")
struct HostTests {
    let scratch: Scratch
    let plugins: String

    init() throws {
        scratch = try Scratch()
        plugins = scratch.folder("plugins")
    }

    /// Starts a host over the scratch folder.
    private func startHost() async throws -> Host {
        let host = try Host(
            HostConfiguration(
                state: try StateDirectory(creating: scratch.path + "/state"), builtInPlugins: nil,
                pluginDirectories: [plugins], logLevel: .critical))
        try await host.start()
        return host
    }

    private func state(_ name: String, _ host: Host) async -> (state: PluginState, reason: String)? {
        await host.records[name].map { ($0.state, $0.reason) }
    }

    private func call(_ method: String, _ input: JSON, _ host: Host) async throws -> String {
        let binding = try host.entrance(named: "test").services.bind(method)
        return try await binding.call(bytes: Array(input.serialized().utf8), parent: nil).text
    }

    @Test("a plugin that is dropped in is started and called, and stopped with the host")
    func startsAndCalls() async throws {
        try FixturePlugin("alpha").build(in: plugins)
        let host = try await startHost()
        #expect(await state("alpha", host)?.state == .active)
        #expect(try await call("test.alpha.echo", ["text": "hello"], host) == #"{"text":"hello"}"#)
        await host.stop()
        #expect(await state("alpha", host)?.state == .stopped)
    }

    @Test("input that comes from outside is checked against the method's schema")
    func checksInput() async throws {
        try FixturePlugin("alpha").build(in: plugins)
        let host = try await startHost()
        let error = await #expect(throws: PluginError.self) { try await call("test.alpha.echo", [:], host) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("'text' is required") == true)
        await host.stop()
    }

    @Test("a failure reaches the caller with its code and message")
    func failure() async throws {
        try FixturePlugin("alpha").build(in: plugins)
        let host = try await startHost()
        let error = await #expect(throws: PluginError.self) { try await call("test.alpha.fail", [:], host) }
        #expect(error == PluginError(code: .notFound, message: "no such thing"))
        await host.stop()
    }

    @Test("a second completion is refused and counted, a missing one ends at the deadline, a late one is dropped")
    func misbehavingCalls() async throws {
        try FixturePlugin("alpha").build(in: plugins)
        let host = try await startHost()
        #expect(try await call("test.alpha.twice", [:], host) == "1")
        let error = await #expect(throws: PluginError.self) { try await call("test.alpha.never", [:], host) }
        #expect(error?.code == .deadlineExceeded)
        #expect(try await call("test.alpha.late", [:], host) == #""dropped""#)
        let counts = try #require(await host.records["alpha"]?.instance?.party.counts)
        #expect(counts.misused == 1)
        #expect(counts.late == 1)
        #expect(counts.in_flight == 0)
        await host.stop()
    }

    @Test("calling what nobody provides is UNAVAILABLE and names the method")
    func unprovided() async throws {
        let host = try await startHost()
        let error = await #expect(throws: PluginError.self) { try await call("test.nobody.echo", [:], host) }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("test.nobody.echo") == true)
        await host.stop()
    }

    @Test(
        "a plugin that fails to start is reported with the reason, and the others run",
        arguments: [
            ("CREATE_FAILS", "create failed: RESOURCE_EXHAUSTED"), ("ACTIVATE_FAILS", "the door is locked"),
            ("ACTIVATE_HANGS", "not done within"), ("LACKS_FAIL", "it has no method test.bad.fail"),
            (#"VERSION="2.0.0""#, "it is version '2.0.0', the manifest says 1.0.0"),
        ])
    func failsToStart(flag: String, reason: String) async throws {
        try FixturePlugin("bad", switches: [flag]).build(in: plugins)
        try FixturePlugin("good").build(in: plugins)
        let host = try await startHost()
        let bad = await state("bad", host)
        #expect(bad?.state == .failed)
        #expect(bad?.reason.contains(reason) == true, "\(bad?.reason ?? "")")
        #expect(try await call("test.good.echo", ["text": "x"], host) == #"{"text":"x"}"#)
        await host.stop()
    }

    @Test("a plugin starts after what it requires, and not at all without it")
    func requirements() async throws {
        try FixturePlugin("base").build(in: plugins)
        try FixturePlugin("above", requires: ["test.base"]).build(in: plugins)
        try FixturePlugin("orphan", requires: ["test.nowhere"]).build(in: plugins)
        let host = try await startHost()
        #expect(await state("above", host)?.state == .active)
        let orphan = await state("orphan", host)
        #expect(orphan?.state == .resolved)
        #expect(orphan?.reason.contains("test.nowhere") == true)
        await host.stop()
    }

    @Test("a plugin whose requirement failed to start fails too, with that as the reason")
    func failedRequirement() async throws {
        try FixturePlugin("base", switches: ["ACTIVATE_FAILS"]).build(in: plugins)
        try FixturePlugin("above", requires: ["test.base"]).build(in: plugins)
        let host = try await startHost()
        let above = await state("above", host)
        #expect(above?.state == .failed)
        #expect(above?.reason.contains("'test.base'") == true)
        await host.stop()
    }

    @Test("a plugin that asks for more than it is granted waits, and runs once it is granted")
    func grants() async throws {
        try FixturePlugin("greedy") { $0["permissions"] = ["network": ["listen": [8080]]] }.build(in: plugins)
        let host = try await startHost()
        let greedy = await state("greedy", host)
        #expect(greedy?.state == .resolved)
        #expect(greedy?.reason.contains("8080") == true, "\(greedy?.reason ?? "")")
        let begun = try await host.grant("greedy")
        _ = try await host.operation(#require(begun["operation"]?.intValue), wait: true)
        await host.stop()
        let again = try await startHost()
        #expect(await state("greedy", again)?.state == .active)
        await again.stop()
    }

    @Test("files that are not plugins are refused with the reason, and the rest runs")
    func refusedFiles() async throws {
        let good = try FixturePlugin("good").build(in: plugins)
        try write("not an ELF file", to: plugins + "/text.so")
        try write("", to: plugins + "/empty.so")
        try FixturePlugin("nothing", switches: ["NOT_A_PLUGIN"]).build(in: plugins)
        // Another architecture: e_machine is the half word at offset 18.
        run("/bin/cp", [good, plugins + "/foreign.so"])
        let file = try #require(fopen(plugins + "/foreign.so", "r+"))
        fseek(file, 18, SEEK_SET)
        fputc(0xB7, file)
        fclose(file)
        run("/bin/cp", [good, plugins + "/short.so"])
        truncate(plugins + "/short.so", 3000)
        run("/bin/cp", [good, plugins + "/silent.so"])  // no manifest
        try FixturePlugin("wrong") { $0["nmae"] = "x" }.build(in: plugins)
        let host = try await startHost()
        let refused = await host.refused
        for (name, reason) in [
            ("text", "ELF"), ("empty", "empty"), ("nothing", "does not export knap_plugin_draft"), ("foreign", "aarch64"),
            ("short", "cut short"), ("silent", "has no manifest"), ("wrong", "did you mean 'name'"),
        ] {
            let message = refused["\(plugins)/\(name).so"] ?? "not refused"
            #expect(message.lowercased().contains(reason.lowercased()), "\(name): \(message)")
        }
        #expect(await state("good", host)?.state == .active)
        #expect(await host.diagnosis()["problems"]?.arrayValue?.count ?? 0 >= 7)
        await host.stop()
    }

    @Test("of two plugins with one name the second is refused, and the message names both files")
    func duplicateName() async throws {
        try FixturePlugin("twin").build(in: plugins)
        let other = scratch.folder("plugins/other")
        try FixturePlugin("twin").build(in: other)
        run("/bin/mv", [other + "/twin.so", plugins + "/zwin.so"])
        run("/bin/mv", [other + "/twin.json", plugins + "/zwin.json"])
        let host = try await startHost()
        let message = await host.refused[plugins + "/zwin.so"] ?? ""
        #expect(message.contains(plugins + "/twin.so"), "\(message)")
        await host.stop()
    }

    @Test("the service 'host' tells of plugins, plans and configuration")
    func hostService() async throws {
        try FixturePlugin("alpha").build(in: plugins)
        let host = try await startHost()
        let list = try JSON.parse(try await call("host.plugins", [:], host))
        #expect(list["plugins"]?[0]?["state"] == "active")
        #expect(try JSON.parse(try await call("host.info", [:], host))["active"] == 1)
        _ = try await call("host.config_set", ["name": "alpha", "key": "colour", "value": "red"], host)
        #expect(try JSON.parse(try await call("host.config_list", [:], host))["alpha"]?["colour"] == "red")
        let error = await #expect(throws: PluginError.self) { try await call("host.plugin", ["name": "alhpa"], host) }
        #expect(error?.message.contains("did you mean 'alpha'") == true)
        await host.stop()
    }
}
