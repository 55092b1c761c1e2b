import Glibc
import Testing

@testable import KnapHost

@Suite("A signed plugin")
struct SigningTests {
    let scratch: Scratch
    let store: PluginStore
    let key: SigningKey

    init() throws {
        scratch = try Scratch()
        store = try PluginStore(directory: scratch.file("store"))
        key = try SigningKey()
    }

    private func sign(_ path: String, _ keys: SigningKey...) throws -> InspectedLibrary {
        try Signing.sign(path, with: keys.isEmpty ? [key] : keys)
    }

    @Test("has the identity that it had, and what is stored and loaded is byte for byte what was signed", arguments: [false, true])
    func identity(isSidecar: Bool) throws {
        let path = try scratch.plugin(isSidecar: isSidecar)
        let original = try Scratch.read(path)
        let before = try store.take(path)
        let signed = try sign(path)
        #expect(signed.signatures == [.init(key: key.publicKey, isValid: true)])
        #expect(try Scratch.read(path).count > original.count)
        let after = try store.take(path)
        #expect(before.signers == [] && after.signers == [key.publicKey])
        #expect(after.digest == before.digest && after.path == before.path)
        #expect(try Scratch.read(after.path) == original)
        // Into an empty store too, and out of it as after a restart.
        let other = try PluginStore(directory: scratch.file("other"))
        #expect(try Scratch.read(other.take(path).path) == original)
        #expect(try other.stored("a", after.digest).signers == [key.publicKey])
        #expect(try other.open(other.stored("a", after.digest)).path == other.stored("a", after.digest).path)
    }

    @Test("shows its section to other tools, still loads, and can lack sections before", arguments: ["", "-s", "sections"])
    func shape(kind: String) throws {
        let path = try scratch.plugin(isSidecar: true, flags: kind == "-s" ? ["-s"] : [])
        if kind == "sections" {
            var bytes = try Scratch.read(path)
            for index in [40..<48, 60..<64] { for at in index { bytes[at] = 0 } }
            try scratch.write(bytes, to: "a.so")
        }
        _ = try sign(path)
        #expect(try signers(store, path).get() == [key.publicKey])
        try Scratch.run(["sh", "-c", "readelf -SW \(path) | grep -q '\\.knap\\.sig'"])
        #expect(dlopen(path, RTLD_NOW | RTLD_LOCAL) != nil)
    }

    @Test("can be signed again: by the same key with the same bytes, by another in its place, by both together")
    func again() throws {
        let path = try scratch.plugin()
        let other = try SigningKey()
        _ = try sign(path)
        let once = try Scratch.read(path)
        _ = try sign(path)
        #expect(try Scratch.read(path) == once)
        _ = try sign(path, other)
        #expect(try signers(store, path).get() == [other.publicKey])
        _ = try sign(path, key, other)
        #expect(try signers(store, path).get() == [key.publicKey, other.publicKey])
        #expect(throws: StoreError.self) { try sign(path, key, key) }
        let many = try (0..<9).map { _ in try SigningKey() }
        #expect(throws: StoreError.self) { try Signing.sign(path, with: many) }
        _ = try Signing.sign(path, with: Array(many.prefix(8)))
        #expect(try signers(store, path).get().count == 8)
    }

    @Test("keeps its mode and its link, and leaves nothing beside it")
    func place() throws {
        let path = try scratch.plugin("deep.so")
        chmod(path, 0o640)
        symlink(path, scratch.file("link.so"))
        _ = try sign(scratch.file("link.so"))
        var status = stat()
        #expect(lstat(scratch.file("link.so"), &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o640)
        try Scratch.run(["sh", "-c", "test -z \"$(ls \(scratch.path) | grep tmp)\""])
    }

    @Test("is not taken for it any more when any single byte of it changes")
    func everyByte() throws {
        let path = try scratch.plugin(flags: ["-s", "-nostdlib"])
        _ = try sign(path)
        let bytes = try Scratch.read(path)
        // What has no signature at all after the change (its section is not found) is unsigned, as if it were cut off.
        var outcomes = (refused: 0, unsigned: 0)
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x20
            let target = try scratch.write(changed, to: "changed.so")
            switch Result(catching: { () throws(StoreError) in try InspectedLibrary(target).signers() }) {
            case .success(let found):
                #expect(found == [], "byte \(index) of \(bytes.count)")
                outcomes.unsigned += 1
            case .failure: outcomes.refused += 1
            }
        }
        #expect(outcomes.refused > bytes.count * 9 / 10, "\(outcomes)")
    }

    @Test("is refused when it is cut off or something is added, and by its bytes from then on")
    func length() throws {
        let path = try scratch.plugin()
        _ = try sign(path)
        let bytes = try Scratch.read(path)
        let target = scratch.file("changed.so")
        for count in [1, 64, 200, bytes.count - 100] {
            try scratch.write(bytes.dropLast(count), to: "changed.so")
            #expect(throws: StoreError.self) { try store.take(target) }
        }
        try scratch.write(bytes + [0], to: "changed.so")
        let error = #expect(throws: StoreError.self) { try store.take(target) }
        #expect(error?.code == .badSignature)
        let again = #expect(throws: StoreError.self) { try store.take(target) }
        #expect(again?.code == .rejectedBefore && again?.message == error?.message)
        try scratch.write(bytes, to: "changed.so")
        #expect(try signers(store, target).get() == [key.publicKey])
    }

    /// A file whose section holds these bytes, laid out as signing does it.
    private func forge(_ block: [UInt8], on path: String) throws -> String {
        let library = try InspectedLibrary(path)
        let bytes = Array(try Scratch.read(path).prefix(library.layout.librarySize))
        let source = ByteArraySource(bytes)
        let appendix = try SignedLayout.Appendix(to: LibrarySource(source, library.layout), block: block)
        var forged = bytes + appendix.bytes
        forged.replaceSubrange(SignedLayout.headerRange, with: appendix.header)
        return try scratch.write(forged, to: "forged.so")
    }

    private func block(_ path: String) throws -> SignatureBlock { try #require(try InspectedLibrary(path).block) }

    @Test("is refused with garbage, an overlong block or a block written otherwise for a signature")
    func garbage() throws {
        let path = try scratch.plugin()
        _ = try sign(path)
        let good = try block(path).bytes
        let text = String(decoding: good, as: UTF8.self)
        let blocks: [[UInt8]] = [
            [], [0], Array("{}".utf8), Array("x".utf8), Array(repeating: 0x20, count: 5000), good + [0x0A], Array(good.dropLast()),
            Array(text.uppercased().utf8), Array(text.replacing("\":", with: "\": ").utf8),
            Array(#"{"knap_signatures":1,"signatures":[]}"#.utf8),
            Array(text.replacing("signatures\":1", with: "signatures\":2").utf8),
            SignatureBlock(try block(path).entries + block(path).entries).bytes,
        ]
        for (number, bytes) in blocks.enumerated() {
            let error = #expect(throws: StoreError.self, "block \(number)") { try store.take(forge(bytes, on: path)) }
            #expect(error?.code == .badSignature, "block \(number): \(error?.message ?? "taken")")
        }
        #expect(try signers(store, forge(good, on: path)).get() == [key.publicKey])
    }

    @Test("by another's signature is refused: of another file, name or version, or with another's key in its place")
    func replay() throws {
        let path = try scratch.plugin()
        _ = try sign(path)
        let others = [
            try scratch.plugin("b.so", name: "b"), try scratch.plugin("newer.so", version: "1.0.1"),
            try scratch.plugin("code.so", flags: ["-O2", "-g"]),
        ]
        for other in others {
            let error = #expect(throws: StoreError.self) { try store.take(forge(block(path).bytes, on: other)) }
            #expect(error?.code == .badSignature)
        }
        let stranger = try SigningKey()
        let entries = try block(path).entries.map { SignatureBlock.Entry(key: stranger.publicKey, signature: $0.signature) }
        #expect(throws: StoreError.self) { try store.take(forge(SignatureBlock(entries).bytes, on: path)) }
    }

    @Test("takes no signature beside those that vouch for each other: none can be added and none removed")
    func together() throws {
        let path = try scratch.plugin()
        let stranger = try SigningKey()
        _ = try sign(path)
        let alone = try block(path).entries
        _ = try sign(path, stranger)
        let strangers = try block(path).entries
        _ = try sign(path, key, stranger)
        let both = try block(path).entries
        for entries in [alone + strangers, strangers + alone, Array(both.prefix(1)), Array(both.suffix(1)), both.reversed()] {
            #expect(throws: StoreError.self) { try store.take(forge(SignatureBlock(entries).bytes, on: path)) }
        }
        #expect(try signers(store, forge(SignatureBlock(both).bytes, on: path)).get().count == 2)
    }

    @Test("covers the manifest beside it, to the byte")
    func sidecar() throws {
        let path = try scratch.plugin(isSidecar: true)
        _ = try sign(path)
        #expect(try signers(store, path).get() == [key.publicKey])
        for manifest in [Scratch.manifest("a") + " ", Scratch.manifest("a", "1.0.1"), Scratch.manifest("b")] {
            try scratch.write(manifest, to: "a.json")
            let error = #expect(throws: StoreError.self) { try store.take(path) }
            #expect(error?.code == .badSignature, "\(manifest)")
        }
        // Its author changes it and signs again.
        _ = try sign(path)
        #expect(try signers(store, path).get() == [key.publicKey])
    }

    @Test("was changed if strip or objcopy came after signing, and says so")
    func tools() throws {
        let path = try scratch.plugin(flags: ["-g"])
        _ = try sign(path)
        try Scratch.run(["strip", "--strip-debug", path])
        let error = #expect(throws: StoreError.self) { try store.take(path) }
        #expect(error?.code == .badSignature && error?.message.contains("after strip and objcopy") == true)
    }

    @Test("cannot be made of what is no plugin, and such a file stays as it is")
    func noPlugin() throws {
        let path = try scratch.write("hello", to: "text.so")
        #expect(throws: StoreError.self) { try sign(path) }
        #expect(try Scratch.read(path) == Array("hello".utf8))
        let bare = try scratch.library("bare.so")
        let before = try Scratch.read(bare)
        #expect(throws: StoreError.self) { try sign(bare) }
        #expect(try Scratch.read(bare) == before)
    }

    @Test("hashes nothing on a warm start, signed or not")
    func warm() throws {
        let path = try scratch.plugin()
        _ = try sign(path)
        while try !StoredFile(reading: path).stamp().isSettled { sched_yield() }
        let artifact = try store.take(path)
        try store.save()
        let warm = try PluginStore(directory: scratch.file("store"))
        #expect(try warm.take(path).signers == [key.publicKey])
        _ = try warm.open(artifact)
        #expect(warm.hashedBytes == 0)
    }
}
