import TestSupport
import Testing

@testable import KnapHost

@Suite("The ELF reader")
struct ElfImageTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func image(_ path: String) throws -> ElfImage { try ElfImage(ByteArraySource(Scratch.read(path))) }

    private func failure(_ bytes: [UInt8]) -> ElfError? {
        do {
            _ = try ElfImage(ByteArraySource(bytes))
            return nil
        } catch { return error }
    }

    @Test("finds the entry, the dependencies and the sections of a plugin")
    func plugin() throws {
        try scratch.write(#"{"name":"a"}"#, to: "manifest.json")
        let source = #"""
            #include <math.h>
            __asm__(".section .knap,\"\",@progbits\n.incbin \"\#(scratch.path)/manifest.json\"\n.previous");
            double knap_plugin_draft(double x) { return cos(x); }
            """#
        let flags = ["-Wl,-soname,plugin.so.1", "-Wl,-z,nodelete", "-Wl,--no-as-needed", "-lm"]
        let image = try image(scratch.library(source: source, flags: flags))
        #expect(image.exports.map(\.name) == ["knap_plugin_draft"])
        #expect(image.needed.contains("libm.so.6"))
        #expect(image.soname == "plugin.so.1")
        #expect(image.isNeverUnloaded)
        #expect(image.manifest.map { String(decoding: $0, as: UTF8.self) } == #"{"name":"a"}"#)
        #expect(image.runtimes == [])
        #expect(try image.checkEntry() == [])
    }

    @Test("reads a library whose only hash table is the old one", arguments: ["sysv", "gnu", "both"])
    func hashStyles(style: String) throws {
        let image = try image(scratch.library(flags: ["-Wl,--hash-style=\(style)"]))
        #expect(image.exports.map(\.name).contains("knap_plugin_draft"))
    }

    @Test("reads a stripped library, and one without any section")
    func stripped() throws {
        let path = try scratch.library(flags: ["-s"])
        #expect(try image(path).exports.map(\.name).contains("knap_plugin_draft"))
        var bytes = try Scratch.read(path)
        for index in [40..<48, 60..<64] { for at in index { bytes[at] = 0 } }
        #expect(try ElfImage(ByteArraySource(bytes)).exports.map(\.name).contains("knap_plugin_draft"))
    }

    @Test("warns of exported symbols beside the entry, but not of local, hidden or undefined ones")
    func extraExports() throws {
        let source = """
            extern int puts(const char *);
            static int local(void) { return 1; }
            __attribute__((visibility("hidden"))) int hidden(void) { return local(); }
            __attribute__((weak)) int weak(void) { return hidden(); }
            int other = 3;
            int knap_plugin_draft(void) { return weak() + puts("x"); }
            """
        let warnings = try image(scratch.library(source: source)).checkEntry()
        #expect(warnings.count == 1)
        #expect(warnings.first?.hasPrefix("it exports 2 symbols beside its entry (other, weak):") == true)
    }

    @Test("warns of static thread-local storage")
    func staticThreadLocals() throws {
        let source = """
            static __thread int x __attribute__((tls_model("initial-exec")));
            int knap_plugin_draft(void) { return x++; }
            """
        let image = try image(scratch.library(source: source, flags: ["-O1"]))
        #expect(image.hasThreadLocals)
        #expect(image.usesStaticThreadLocals)
        #expect(try image.checkEntry().contains { $0.contains("static thread-local storage") })
    }

    @Test("recognises the libraries of languages whose runtimes need care")
    func runtimes() throws {
        let cases: [(section: String, runtime: ElfImage.Runtime)] = [
            ("swift5_protocols", .swift), (".note.go.buildid", .go), (".gopclntab", .go),
        ]
        for (section, runtime) in cases {
            let source =
                "__asm__(\".section \(section),\\\"a\\\"\\n.ascii \\\"abcd\\\"\\n.previous\");\n" + Scratch.plugin
            #expect(try image(scratch.library(source: source)).runtimes == [runtime], "\(section)")
        }
        let rust = "__asm__(\".ident \\\"rustc version 1.80\\\"\");\n"
        #expect(try image(scratch.library(source: rust + Scratch.plugin)).runtimes == [.rust])
    }

    @Test("says which ABI a plugin for another host is built for")
    func foreignABI() throws {
        let source = "int knap_plugin_v9(void) { return 0; }"
        let error = #expect(throws: ElfError.self) { try image(scratch.library(source: source)).checkEntry() }
        #expect(error?.code == .foreignABI)
        #expect(error?.message == "it is built for the ABI v9; this host speaks draft: build it again")
    }

    @Test("says that a library is not a plugin when the entry is missing, hidden or data")
    func missingEntry() throws {
        let sources = [
            "int x(void) { return 0; }",
            "__attribute__((visibility(\"hidden\"))) int knap_plugin_draft(void) { return 0; }",
            "extern int knap_plugin_draft(void); int x(void) { return knap_plugin_draft(); }",
            "int knap_plugin_draft = 1;",
        ]
        for source in sources {
            let error = #expect(throws: ElfError.self) { try image(scratch.library(source: source)).checkEntry() }
            #expect(error?.code == .missingEntry, "\(source)")
        }
    }

    @Test("says what a file is that is no shared object")
    func wrongKinds() throws {
        let good = try Scratch.read(scratch.library())
        func patched(_ changes: [Int: UInt8]) -> [UInt8] {
            var bytes = good
            for (at, value) in changes { bytes[at] = value }
            return bytes
        }
        let code = try scratch.write("int main(void) { return 0; }", to: "main.c")
        try Scratch.run(["cc", "-c", "-o", scratch.file("main.o"), code])
        try Scratch.run(["cc", "-pie", "-fPIE", "-o", scratch.file("pie"), code])
        try Scratch.run(["cc", "-no-pie", "-o", scratch.file("static"), code])
        let foreign = ElfMachine.host.rawValue == 62 ? (UInt8(183), "AArch64") : (UInt8(62), "x86-64")
        let cases: [([UInt8], ElfError.Code, String)] = [
            ([], .notELF, "it is not an ELF file (it is empty)"),
            (Array("#!/bin/sh\n".utf8), .notELF, "it is not an ELF file (it is a script)"),
            (Array("hello".utf8), .notELF, "it is not an ELF file (its first bytes are 68 65 6c 6c)"),
            (Array("!<arch>\n".utf8), .notELF, "it is not an ELF file (it is a static library)"),
            (patched([4: 1]), .wrongClass, "it is a 32-bit library; build it for 64-bit"),
            (patched([5: 2]), .wrongByteOrder, "it is a big-endian library; this host is little-endian"),
            (
                patched([18: foreign.0, 19: 0]), .foreignMachine,
                "it is built for \(foreign.1), this host runs on \(ElfMachine.host.name)"
            ),
            (
                patched([18: 0xFE, 19: 0xFE]), .foreignMachine,
                "it is built for the unknown machine 65278, this host runs on \(ElfMachine.host.name)"
            ),
            (patched([16: 4]), .notSharedObject, "it is not a shared object but a core dump"),
            (
                try Scratch.read(scratch.file("main.o")), .notSharedObject,
                "it is not a shared object but an object file; link it with -shared"
            ),
            (
                try Scratch.read(scratch.file("pie")), .notSharedObject,
                "it is not a shared object but a program; link it with -shared"
            ),
            (
                try Scratch.read(scratch.file("static")), .notSharedObject,
                "it is not a shared object but a program; link it with -shared"
            ),
            (Array(good.prefix(1000)), .truncated, ""),
        ]
        for (bytes, code, message) in cases {
            let error = failure(bytes)
            #expect(error?.code == code)
            if !message.isEmpty { #expect(error?.message == message) }
        }
    }

    @Test("says that nothing could load a library without a dynamic section")
    func noDynamicSection() throws {
        var bytes = try Scratch.read(scratch.library())
        let table = Int(bytes[32])
        for index in 0..<Int(bytes[56]) where bytes[table + 56 * index] == 2 { bytes[table + 56 * index] = 4 }
        #expect(failure(bytes)?.code == .noDynamicSection)
    }

    @Test("refuses a manifest section that is doubled, compressed or without bytes")
    func oddManifestSections() throws {
        let sections = """
            __asm__(".section .knap,\\"\\",@progbits\\n.ascii \\"{}\\"\\n.previous");
            __asm__(".section .other,\\"\\",@progbits\\n.ascii \\"{}\\"\\n.previous");

            """
        let good = try Scratch.read(scratch.library(source: sections + Scratch.plugin))
        let manifest = try #require(try Self.sectionHeader(of: ".knap", in: good))
        let other = try #require(try Self.sectionHeader(of: ".other", in: good))
        var doubled = good
        for index in 0..<4 { doubled[other + index] = good[manifest + index] }
        var withoutBytes = good
        withoutBytes[manifest + 4] = 8
        var compressed = good
        compressed[manifest + 9] |= 0x08
        for (bytes, what) in [(doubled, "doubled"), (withoutBytes, "without bytes"), (compressed, "compressed")] {
            #expect(failure(bytes)?.code == .corrupt, "\(what)")
        }
    }

    /// Where the section's header is in the file.
    private static func sectionHeader(of name: String, in bytes: [UInt8]) throws -> Int? {
        let whole = ElfBytes(what: "file", bytes: bytes)
        let (table, count) = (Int(try whole.u64(40)), Int(try whole.u16(60)))
        let names = table + 64 * Int(try whole.u16(62))
        let strings = try whole.u64(names + 24)
        return try (0..<count).map { table + 64 * $0 }.first {
            try whole.string(strings + UInt64(whole.u32($0))) == name
        }
    }

    @Test("survives a library cut short at every byte and says so")
    func truncatedEverywhere() throws {
        let good = try Scratch.read(scratch.library(flags: ["-s", "-nostdlib"]))
        for length in 0..<good.count {
            let error = failure(Array(good.prefix(length)))
            #expect(error != nil, "cut at \(length) of \(good.count)")
            #expect(length < 4 || error?.code == .truncated, "cut at \(length): \(String(describing: error))")
        }
    }

    @Test("survives any corruption of any bytes", arguments: 0..<8)
    func mutated(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let good = try Scratch.read(scratch.library(flags: ["-s", "-nostdlib"]))
        let interesting: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF]
        for _ in 0..<2_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                // Half of the changes hit the headers, where a byte decides most.
                let reach = Bool.random(using: &generator) ? min(1024, bytes.count) : bytes.count
                let at = Int.random(in: 0..<reach, using: &generator)
                bytes[at] =
                    Bool.random(using: &generator)
                    ? .random(in: 0...255, using: &generator) : interesting[Int.random(in: 0..<5, using: &generator)]
            }
            if let image = try? ElfImage(ByteArraySource(bytes)) { _ = try? image.checkEntry() }
        }
    }

    @Test("reads the system's own libraries")
    func systemLibraries() throws {
        for path in [
            "/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libc.so.6",
        ] {
            guard let bytes = try? Scratch.read(path), bytes.count > 1 << 16 else { continue }
            let image = try ElfImage(ByteArraySource(bytes))
            #expect(image.exports.count > 500, "\(path)")
        }
    }
}
