import Glibc
import KnapJSON
import Testing

@testable import KnapHost

@Suite("The plugin store")
struct PluginStoreTests {
    let scratch: Scratch
    let store: PluginStore

    init() throws {
        scratch = try Scratch()
        store = try PluginStore(directory: scratch.file("store"))
    }

    private static func manifest(_ name: String, _ version: String = "1.0.0") -> String {
        #"{"manifest": 1, "name": "\#(name)", "version": "\#(version)", "abi": "draft"}"#
    }

    /// A library, with a manifest in it, beside it, or both.
    private func drop(_ file: String = "a.so", embedded: String? = nil, sidecar: String? = nil) throws -> String {
        var source = Scratch.plugin
        if let embedded {
            let path = try scratch.write(embedded, to: file + ".embedded")
            source += "__asm__(\".section .knap,\\\"\\\",@progbits\\n.incbin \\\"\(path)\\\"\\n.previous\");\n"
        }
        if let sidecar { try scratch.write(sidecar, to: String(file.dropLast(3)) + ".json") }
        return try scratch.library(file, source: source)
    }

    private func failure(_ path: String) -> StoreError? {
        do {
            _ = try store.take(path)
            return nil
        } catch { return error }
    }

    private func files(_ name: String) throws -> [String] {
        let listing = scratch.file("listing")
        try Scratch.run(["sh", "-c", "ls -A \(scratch.path)/store/\(name) > \(listing)"])
        return try String(decoding: Scratch.read(listing), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test("keeps a copy under the name of its content, with an inode of its own")
    func take() throws {
        let path = try drop(embedded: Self.manifest("a"))
        let artifact = try store.take(path)
        #expect(artifact.manifest.name == "a")
        #expect(artifact.path == scratch.file("store/a/\(artifact.digest).so"))
        #expect(try Scratch.read(artifact.path) == Scratch.read(path))
        #expect(try StoredFile(reading: artifact.path).stamp().inode != StoredFile(reading: path).stamp().inode)
        #expect(try files("a") == ["\(artifact.digest).so"])
        #expect(artifact.libraryDigest == SHA256.digest(try Scratch.read(path)))
        #expect(artifact.warnings == [])
        #expect(try store.open(artifact).path == artifact.path)
    }

    @Test("takes the manifest beside a library that carries none, and stores it too")
    func sidecar() throws {
        let path = try drop(sidecar: Self.manifest("a"))
        let first = try store.take(path)
        #expect(try files("a").sorted() == ["\(first.digest).json", "\(first.digest).so"])
        try scratch.write(Self.manifest("a", "1.1.0"), to: "a.json")
        let second = try store.take(path)
        #expect(second.digest != first.digest && second.libraryDigest == first.libraryDigest)
        #expect(second.manifest.version == Version(1, 1, 0))
        #expect(try files("a").count == 4)
    }

    @Test("gives back from the store what it took, as after a restart")
    func stored() throws {
        for (file, path) in [
            ("a", try drop(embedded: Self.manifest("a"))), ("b", try drop("b.so", sidecar: Self.manifest("b"))),
        ] {
            let artifact = try store.take(path)
            let again = try PluginStore(directory: scratch.file("store")).stored(file, artifact.digest)
            #expect(
                again.digest == artifact.digest && again.path == artifact.path && again.manifest == artifact.manifest)
        }
    }

    @Test("accepts two manifests that say the same and shows where others differ")
    func agreement() throws {
        let same = #"{"version": "1.0.0", "abi": "draft", "manifest": 1.0, "name": "a"}"#
        #expect(try store.take(drop(embedded: Self.manifest("a"), sidecar: same)).manifest.name == "a")
        let path = try drop(embedded: Self.manifest("a"), sidecar: Self.manifest("a", "2.0.0"))
        let error = failure(path)
        #expect(error?.code == .manifestsDiffer)
        #expect(error?.message.contains(#"differ at '/version': "1.0.0" and "2.0.0"; remove one of the two"#) == true)
        let more = try drop(
            embedded: Self.manifest("a"), sidecar: String(Self.manifest("a").dropLast()) + #", "license": "MIT"}"#)
        #expect(failure(more)?.message.contains(#"'/license': nothing and "MIT""#) == true)
    }

    @Test("says what is wrong with a file that cannot be a plugin")
    func bad() throws {
        #expect(failure(scratch.file("none.so"))?.code == .input)
        #expect(failure(scratch.path)?.code == .input)
        #expect(failure(try drop())?.code == .noManifest)
        #expect(failure(try scratch.write("hello", to: "text.so"))?.code == .notAPlugin)
        let error = failure(try drop(embedded: #"{"manifest": 1, "nam": "a", "version": "1.0.0", "abi": "draft"}"#))
        #expect(error?.code == .badManifest)
        #expect(
            error?.message.contains("a.so (section .knap):1:24: /nam: unknown field 'nam': did you mean 'name'?")
                == true)
        #expect(failure(try drop(embedded: "{"))?.code == .badManifest)
    }

    @Test("does not wait for a FIFO that is named like a library")
    func fifo() throws {
        mkfifo(scratch.file("pipe.so"), 0o600)
        #expect(failure(scratch.file("pipe.so"))?.message.hasSuffix("it is not a regular file") == true)
    }

    @Test("remembers a bad content by its digest until the bytes change")
    func rejected() throws {
        let path = try scratch.write("not a library", to: "a.so")
        #expect(failure(path)?.code == .notAPlugin)
        let again = failure(try scratch.write("not a library", to: "b.so"))
        #expect(again?.code == .rejectedBefore)
        #expect(again?.message.contains("a.so: it is not an ELF file") == true)
        #expect(failure(try drop(embedded: Self.manifest("a"))) == nil)
        // A manifest put beside it is a change as well.
        let bare = try drop("c.so")
        #expect(failure(bare)?.code == .noManifest)
        try scratch.write(Self.manifest("c"), to: "c.json")
        #expect(failure(bare) == nil)
    }

    @Test("hashes nothing on a warm start")
    func warmStart() throws {
        let path = try drop(embedded: Self.manifest("a"))
        // The file must be older than one tick of the clock for its digest to be kept.
        while try !StoredFile(reading: path).stamp().isSettled { sched_yield() }
        let artifact = try store.take(path)
        #expect(store.hashedBytes > 0)
        try store.save()
        let warm = try PluginStore(directory: scratch.file("store"))
        #expect(try warm.take(path).digest == artifact.digest)
        _ = try warm.open(artifact)
        #expect(warm.hashedBytes == 0)
    }

    @Test(
        "starts cold when its cache is damaged",
        arguments: ["", "{", "[]", #"{"format": 1, "files": [[1], 2, [1,2,3,4,5,"x"]]}"#])
    func damagedCache(content: String) throws {
        try scratch.write(content, to: "store/digests.json")
        #expect(
            try PluginStore(directory: scratch.file("store")).take(drop(embedded: Self.manifest("a"))).manifest.name
                == "a")
    }

    @Test("refuses to load what was changed in the store")
    func corrupted() throws {
        let artifact = try store.take(drop(embedded: Self.manifest("a")))
        chmod(artifact.path, 0o600)
        try scratch.write("x", to: "store/a/\(artifact.digest).so")
        let error = #expect(throws: StoreError.self) { try store.open(artifact).path }
        #expect(error?.code == .corrupted)
        #expect(throws: StoreError.self) { try store.stored("a", artifact.digest) }
    }

    @Test("heals a damaged copy when the plugin is dropped again")
    func heals() throws {
        let path = try drop(embedded: Self.manifest("a"))
        let artifact = try store.take(path)
        unlink(artifact.path)
        try scratch.write("x", to: "store/a/\(artifact.digest).so")
        _ = try store.open(try store.take(path))
    }

    @Test("says that its directory cannot be written and leaves nothing behind")
    func readOnly() throws {
        try scratch.write("", to: "store/a")
        let error = failure(try drop(embedded: Self.manifest("a")))
        #expect(error?.code == .output)
    }

    @Test("warns of what an author should mend")
    func warnings() throws {
        let source = Scratch.plugin + "int extra(void) { return 1; }\n"
        try scratch.write(Self.manifest("a"), to: "a.json")
        #expect(try store.take(scratch.library("a.so", source: source)).warnings.count == 1)
    }

    @Test("a copy opens although it is given to the user of another worker meanwhile")
    func givenMeanwhile() async throws {
        let artifact = try store.take(drop(embedded: Self.manifest("a")))
        for _ in 0..<20 {
            async let given: Void = onOwnThread {
                for round in 0..<2000 { chmod(artifact.path, round % 2 == 0 ? 0o440 : 0o400) }
            }
            for _ in 0..<20 {
                // It has hashed nothing yet.
                _ = try PluginStore(directory: scratch.file("store")).open(artifact)
            }
            await given
        }
    }
}

@Suite("The inbox")
struct InboxTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    @Test("reports a library when it has been left alone long enough, once, and again when it changes")
    func settles() throws {
        let start = ContinuousClock.now
        var inbox = Inbox(directories: [scratch.path], settle: .seconds(60))
        let path = try scratch.write("x", to: "a.so")
        try scratch.write("x", to: ".hidden.so")
        try scratch.write("x", to: "a.txt")
        #expect(inbox.scan(now: start) == [])
        #expect(inbox.isSettling)
        #expect(inbox.scan(now: start + .seconds(59)) == [])
        #expect(inbox.scan(now: start + .seconds(61)) == [.ready(path)])
        #expect(!inbox.isSettling)
        #expect(inbox.scan(now: start + .seconds(122)) == [])
        try scratch.write("longer", to: "a.so")
        #expect(inbox.scan(now: start + .seconds(123)) == [])
        #expect(inbox.scan(now: start + .seconds(184)) == [.ready(path)])
        try scratch.write("{}", to: "a.json")
        #expect(inbox.scan(now: start + .seconds(185)) == [])
        #expect(inbox.scan(now: start + .seconds(246)) == [.ready(path)])
        unlink(path)
        #expect(inbox.scan(now: start + .seconds(247)) == [.removed(path)])
        #expect(inbox.scan(now: start + .seconds(248)) == [])
    }

    @Test("starts again when a file changes while it settles")
    func changing() throws {
        let start = ContinuousClock.now
        var inbox = Inbox(directories: [scratch.path], settle: .seconds(60))
        for second in 0..<5 {
            try scratch.write(String(repeating: "x", count: second), to: "a.so")
            #expect(inbox.scan(now: start + .seconds(59 * second)) == [])
        }
        #expect(inbox.scan(now: start + .seconds(300)) == [.ready(scratch.file("a.so"))])
    }

    @Test("reports at once what was written before, and after a retry again")
    func old() throws {
        let path = try scratch.write("x", to: "a.so")
        var inbox = Inbox(directories: [scratch.path], settle: .zero)
        #expect(inbox.scan() == [.ready(path)])
        inbox.retry(path)
        #expect(inbox.scan() == [.ready(path)])
    }

    @Test("reports what goes, also right after a change that was not reported")
    func removedWhileItSettles() throws {
        let start = ContinuousClock.now
        var inbox = Inbox(directories: [scratch.path], settle: .seconds(60))
        let path = try scratch.write("x", to: "a.so")
        _ = inbox.scan(now: start)
        #expect(inbox.scan(now: start + .seconds(61)) == [.ready(path)])
        try scratch.write("longer", to: "a.so")
        #expect(inbox.scan(now: start + .seconds(62)) == [])
        unlink(path)
        #expect(inbox.scan(now: start + .seconds(63)) == [.removed(path)])
    }

    @Test("reports a folder when all in it has been left alone, and again when anything in it changes, comes or goes")
    func folder() throws {
        let start = ContinuousClock.now
        var inbox = Inbox(directories: [scratch.path], settle: .seconds(60))
        let folder = scratch.file("a.knap")
        try Scratch.run(["mkdir", "-p", folder + "/more"])
        var second = 0
        func settled() -> [Inbox.Change] {
            defer { second += 61 }
            #expect(inbox.scan(now: start + .seconds(second)) == [])
            return inbox.scan(now: start + .seconds(second + 61))
        }
        #expect(settled() == [.ready(folder)])
        for change in [
            { try self.scratch.write("x", to: "a.knap/a.so") }, { try self.scratch.write("data", to: "a.knap/more/data") },
            { try self.scratch.write("longer", to: "a.knap/more/data") },
        ] {
            _ = try change()
            second += 1
            #expect(settled() == [.ready(folder)])
        }
        unlink(folder + "/more/data")
        second += 1
        #expect(settled() == [.ready(folder)])
        try Scratch.run(["rm", "-r", folder])
        #expect(inbox.scan(now: start + .seconds(second + 1)) == [.removed(folder)])
    }

    @Test("is empty while its directory is not there")
    func absent() {
        var inbox = Inbox(directories: [scratch.file("later")])
        #expect(inbox.scan() == [])
    }
}

@Suite("A digest")
struct DigestTests {
    @Test("is SHA-256")
    func vectors() {
        let cases = [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ]
        for (text, digest) in cases {
            #expect(SHA256.digest(Array(text.utf8)).description == digest)
            #expect(Digest(digest)?.description == digest)
        }
        for bad in ["", "ba78", String(repeating: "g", count: 64), String(repeating: "A", count: 64)] {
            #expect(Digest(bad) == nil)
        }
    }
}
