import Glibc
import KnapJSON
import Testing

@testable import KnapHost

@Suite("Code of generations in the host's process")
struct UnloadingTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// Two contents of one plugin that take turns: each replacement loads one image and unloads the other.
    @Test("a thousand reloads of plain code leave mappings and memory flat", arguments: ["C", "Embedded Swift"])
    func flat(language: String) async throws {
        let rounds = getenv("KNAP_TESTS_ALL").map { String(cString: $0) } == "true" ? 1000 : 100
        let plugins = scratch.folder("plugins"), other = scratch.folder("other")
        try await build(language, "1.0.0", in: plugins)
        try await build(language, "2.0.0", in: other)
        let host = try Host(
            HostConfiguration(
                state: try StateDirectory(creating: scratch.path + "/state"), builtInPlugins: nil,
                pluginDirectories: [plugins], logLevel: .critical))
        try await host.start()
        let first = try #require(await host.records["leaf"]?.instance?.artifact)
        let second = try host.store.take(other + "/leaf.so")
        var sizes: [Int] = []
        for round in 1...rounds {
            try await host.replace("leaf", with: round % 2 == 0 ? first : second, "turn")
            if round % (rounds / 10) == 0 {
                try await unloaded(host, 1 + round)
                #expect(images().count == 1)
                sizes.append(residentBytes())
            }
        }
        // The first rounds fill what is kept for ever, such as the engine's slots and the allocator's arenas.
        let growth = (sizes.last ?? 0) - sizes[4]
        #expect(growth < 2 << 20, "\(sizes)")
        await host.stop()
    }

    private func build(_ language: String, _ version: String, in folder: String) async throws {
        guard language == "C" else {
            try await buildEmbedded(version, in: folder)
            return
        }
        try FixturePlugin("leaf", switches: ["VERSION=\"\(version)\""]) { $0["version"] = .string(version) }.build(in: folder)
    }

    private func buildEmbedded(_ version: String, in folder: String) async throws {
        let root = "/" + #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        let names = [
            "name": "leaf", "plainVersion": version, "version": "\\\"\(version)\\\"", "versionMethod": "test.leaf.version",
            "addMethod": "test.leaf.add",
        ]
        let source = scratch.folder("names-\(version)") + "/names.swift"
        try write(names.map { "let \($0): StaticString = \"\($1)\"\n" }.joined(), to: source)
        let arguments = [
            "-parse-as-library", "-wmo", "-O", "-target", "x86_64-unknown-linux-gnu", "-enable-experimental-feature", "Embedded",
            "-emit-library", "-module-name", "leaf", root + "/Tests/Fixtures/Plugins/EmbeddedSwift/plugin.swift", source,
            "-I\(root)/PluginAPI/C/include", "-Xlinker", "--version-script=\(root)/PluginAPI/C/exports.map", "-Xlinker",
            "-Bsymbolic", "-o", folder + "/leaf.so",
        ]
        // The compiler takes seconds, in which other tests have hooks that must end in time.
        let status = await onOwnThread { run("swiftc", arguments) }
        #expect(status == 0)
        let methods = ["version", "add"].map { ["name": .string($0), "blocking": false] as JSON }
        let manifest: JSON = [
            "manifest": 1, "name": "leaf", "version": .string(version), "abi": "draft",
            "provides": [["service": "test.leaf", "version": "1.0.0", "methods": .array(methods)]],
        ]
        try write(manifest.serialized(), to: folder + "/leaf.json")
    }

    private func unloaded(_ host: Host, _ generation: Int) async throws {
        let end = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < end {
            if let left = await host.records["leaf"]?.left, left.generation >= generation - 1 {
                #expect(left.residence == .unloaded)
                if images().count == 1 { return }
            }
            try await Task.sleep(for: .milliseconds(1))
        }
        Issue.record("generation \(generation - 1) was not unloaded")
    }

    /// The contents of the plugin that are mapped here.
    private func images() -> Set<Substring> {
        let maps = String(decoding: readFile("/proc/self/maps") ?? [], as: UTF8.self)
        return Set(
            maps.split(separator: "\n").compactMap { line in
                line.contains(scratch.path + "/state/store/leaf/") ? line.split(separator: " ").last : nil
            })
    }

    private func residentBytes() -> Int {
        let fields = String(decoding: readFile("/proc/self/statm") ?? [], as: UTF8.self).split(separator: " ")
        return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * 4096
    }

    @Test("what may stay in memory is decided by the image's own word")
    func reasons() throws {
        func image(_ source: String, _ flags: [String] = []) throws -> ElfImage {
            try ElfImage(ByteArraySource(Scratch.read(scratch.library(source: source, flags: flags))))
        }
        let entry = "void knap_plugin_draft(void) {}\n"
        #expect(try image(entry).reasonToStay == nil)
        #expect(try image(entry, ["-Wl,-z,nodelete"]).reasonToStay?.contains("nodelete") == true)
        let threads = "#include <pthread.h>\npthread_t t; void knap_plugin_draft(void) { pthread_create(&t, 0, 0, 0); }\n"
        #expect(try image(threads).reasonToStay?.contains("threads") == true)
        #expect(try image(threads, ["-Wl,--hash-style=sysv"]).reasonToStay?.contains("threads") == true)
        let handlers = "#include <signal.h>\nvoid knap_plugin_draft(void) { signal(1, SIG_IGN); }\n"
        #expect(try image(handlers).reasonToStay?.contains("signal") == true)
        #expect(try image(handlers).imports.contains("signal"))
    }

    @Test(
        "the budget counts what is there and what would come",
        arguments: [(10, 5, true), (11, 5, false), (10, 6, false), (0, 0, true)] as [(Int, Int, Bool)])
    func budget(conformances: Int, megabytes: Int, fits: Bool) {
        let budget = SwiftBudget(conformances: 30, bytes: 10 << 20)
        let loaded = [SwiftCost(conformances: 15, bytes: 4 << 20), SwiftCost(conformances: 5, bytes: 1 << 20)]
        let refusal = budget.refusal(
            of: SwiftCost(conformances: conformances, bytes: megabytes << 20), beside: loaded, "notes")
        #expect((refusal == nil) == fits)
        if let refusal { #expect(refusal.contains("knap plugins isolate notes worker")) }
    }
}
