import CKnap
import GreeterFixture
import KnapCallEngine
import Testing

@testable import KnapPlugin

@Suite("A plugin that guards calls") struct GuardianTests {
    @Test("sees each one begin and end, and refuses with a code and a message")
    func guards() async throws {
        try await Stage.run { stage in
            let guardian = try stage.host.load(Guardian.self)
            let observe = guardian.table.pointee.extension(guardian.instance, KNAP_EXT_OBSERVE)
            let intercept = guardian.table.pointee.extension(guardian.instance, KNAP_EXT_INTERCEPT)
            var hooked = knap_hooked_t(
                instance: guardian.instance, observe: observe?.assumingMemoryBound(to: knap_plugin_observe_t.self),
                intercept: intercept?.assumingMemoryBound(to: knap_plugin_intercept_t.self), party: guardian.party)
            knap_engine_hooks(stage.host.engine, &hooked, 1, nil)

            let echo = try stage.bind("greeter.echo")
            _ = try await echo.call(bytes: Array("hello".utf8), parent: nil)
            let refusal = PluginError(code: .permissionDenied, message: "probe may not shout at greeter.echo.")
            await #expect(throws: refusal) { try await echo.call(bytes: Array("!".utf8), parent: nil) }

            let begin = Guardian.Seen(method: "greeter.echo", caller: "probe", failure: nil, hasEnded: false)
            let end = Guardian.Seen(method: "greeter.echo", caller: "probe", failure: nil, hasEnded: true)
            #expect(await eventually { guardian.plugin.seen.count >= 2 })
            #expect(guardian.plugin.seen.prefix(2) == [begin, end])
            knap_engine_hooks(stage.host.engine, nil, 0, nil)
            guardian.destroy()
        }
    }

    @Test("is told to drain, and that the drain was given up")
    func drains() throws {
        let host = TestHost()
        let guardian = try host.load(Guardian.self)
        let table = try #require(guardian.extension(KNAP_EXT_DRAIN, as: knap_plugin_drain_t.self))
        table.begin(guardian.instance, 7)
        table.abandon(guardian.instance)
        #expect(guardian.plugin.drained == [Deadline(nanoseconds: 7), nil])
        guardian.destroy()
        host.stop()
    }
}
