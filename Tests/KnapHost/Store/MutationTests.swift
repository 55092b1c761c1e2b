import Glibc
import KnapJSON
import TestSupport
import Testing

@testable import KnapHost

@Suite("Mutated files")
struct MutationTests {
    @Test("of 5,000 libraries, each with some bytes changed, cut off or doubled, none takes the host down")
    func libraries() async throws {
        let scratch = try Scratch()
        let original = try #require(readFile(try FixturePlugin("mutant").build(in: scratch.folder("built"))))
        let manifest = try #require(readFile(scratch.path + "/built/mutant.json"))
        let store = try PluginStore(directory: scratch.path + "/store")
        _ = scratch.folder("drop")
        var taken = 0
        for seed in 0..<5_000 {
            if seed % 50 == 0 { await Task.yield() }  // other tests have hooks that must end in time
            var generator = SeededGenerator(seed: UInt64(seed))
            let path = try scratch.write(mutated(original, &generator), to: "drop/mutant.so")
            _ = try scratch.write(manifest, to: "drop/mutant.json")
            do throws(StoreError) { taken += try store.take(path).path.isEmpty ? 0 : 1 } catch {
                #expect(!error.message.isEmpty, "seed \(seed)")
            }
        }
        // Most bytes of a library are code, about which only running it tells.
        #expect(taken > 0 && taken < 5_000)
    }

    @Test("of 5,000 manifests, each with some bytes changed, cut off or doubled, all are read or refused with a place")
    func manifests() async throws {
        let root = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        for name in ["gateway", "obsidian"] {
            let original = try #require(readFile("/\(root)/Manifests/\(name).json"))
            for seed in 0..<2_500 {
                if seed % 50 == 0 { await Task.yield() }
                var generator = SeededGenerator(seed: UInt64(seed))
                do { _ = try Manifest(mutated(original, &generator), file: "\(name).json") } catch {
                    #expect(error.description.contains("\(name).json"), "seed \(seed)")
                }
            }
        }
    }

    private func mutated(_ original: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
        var bytes = original
        switch Int.random(in: 0..<10, using: &generator) {
        case 0: bytes.removeLast(Int.random(in: 1...bytes.count, using: &generator))
        case 1:
            let from = Int.random(in: 0..<bytes.count, using: &generator)
            bytes += bytes[from...]
        case 2, 3, 4:
            // The headers are what is read of it.
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                bytes[Int.random(in: 0..<min(64, bytes.count), using: &generator)] = .random(in: 0...255, using: &generator)
            }
        case 5, 6:
            let tail = max(0, bytes.count - 2_500)
            for _ in 0..<Int.random(in: 1...16, using: &generator) {
                bytes[Int.random(in: tail..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
        default:
            for _ in 0..<Int.random(in: 1...32, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
        }
        return bytes
    }
}
