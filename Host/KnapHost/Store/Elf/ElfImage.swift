/// What a shared object says of itself, read from its bytes alone.
///
/// `dlopen` runs constructors before anything can be asked, so all that can be known without running code is known
/// from here. The input is hostile: any bytes give an image or an `ElfError`, never a crash.
package struct ElfImage: Sendable {
    /// The language runtime that the library brings or needs, as far as its sections and dependencies show.
    package enum Runtime: String, Sendable, CaseIterable { case swift, go, rust, cxx }

    package let soname: String?
    package let needed: [String]
    /// Where the loader looks for them besides the system's places.
    package let searchPaths: [String]
    /// Symbols that other libraries can see.
    package let exports: [ElfSymbol]
    package let runtimes: Set<Runtime>
    /// The section `.knap`: the manifest's bytes.
    package let manifest: [UInt8]?
    /// `DF_STATIC_TLS`: wants room in the static TLS block, of which a running process has little left.
    package let usesStaticThreadLocals: Bool
    /// `DF_1_NODELETE`: `dlclose` leaves it mapped.
    package let isNeverUnloaded: Bool
    package let hasThreadLocals: Bool
    /// Symbols that it wants of other libraries.
    package let imports: Set<String>
    /// Records of Swift's protocol conformances, each of which every failed cast in the process looks at.
    package let conformances: Int
    /// What is mapped of it.
    package let loadedBytes: Int

    package init(_ source: some ByteSource) throws(ElfError) {
        let reader = ElfReader(source: source)
        let header = try ElfHeader(reader)
        let dynamic = try ElfDynamic(header, reader)
        guard dynamic.flags1 & Flag1.program == 0 else {
            throw ElfError(
                code: .notSharedObject, message: "it is not a shared object but a program; link it with -shared")
        }
        let sections = try ElfSections(header, reader)
        soname = dynamic.soname
        needed = dynamic.needed
        searchPaths = dynamic.searchPaths
        exports = dynamic.symbols
        imports = dynamic.imports
        loadedBytes = dynamic.loadedBytes
        conformances = Int(clamping: (sections.first("swift5_protocol_conformances")?.size ?? 0) / 4)
        usesStaticThreadLocals = dynamic.flags & Flag.staticThreadLocals != 0
        isNeverUnloaded = dynamic.flags1 & Flag1.noDelete != 0
        hasThreadLocals = dynamic.hasThreadLocals
        runtimes = try Self.runtimes(sections, dynamic, reader)
        manifest = try Self.content(Self.manifestSection, sections, reader)
    }

    private enum Flag { static let staticThreadLocals: UInt64 = 0x10 }
    private enum Flag1 {
        static let noDelete: UInt64 = 0x8
        static let program: UInt64 = 0x0800_0000
    }

    static let manifestSection = ".knap"

    /// Larger than any manifest, small enough to hold.
    static let maximumSection: UInt64 = 4 << 20

    private static func content(
        _ name: String, _ sections: ElfSections, _ reader: ElfReader<some ByteSource>
    ) throws(ElfError) -> [UInt8]? {
        guard let section = try sections.only(name) else { return nil }
        guard section.occupiesFile, section.flags & 0x800 == 0 else {
            throw ElfError(code: .corrupt, message: "its section \(name) is empty or compressed; embed plain bytes")
        }
        guard section.size <= maximumSection else {
            throw ElfError(
                code: .corrupt, message: "its section \(name) has \(section.size) bytes; \(maximumSection) are allowed")
        }
        return try reader.table("section \(name)", at: section.offset, size: section.size).bytes
    }

    private static func runtimes(
        _ sections: ElfSections, _ dynamic: ElfDynamic, _ reader: ElfReader<some ByteSource>
    ) throws(ElfError) -> Set<Runtime> {
        var found: Set<Runtime> = []
        for section in sections.all {
            if section.name.hasPrefix("swift5_") { found.insert(.swift) }
            if section.name == ".note.go.buildid" || section.name == ".go.buildinfo" || section.name == ".gopclntab" {
                found.insert(.go)
            }
        }
        for library in dynamic.needed {
            if library.hasPrefix("libswiftCore.so") { found.insert(.swift) }
            if library.hasPrefix("libstdc++.so") || library.hasPrefix("libc++.so") { found.insert(.cxx) }
            if library.hasPrefix("libstd-") { found.insert(.rust) }
        }
        if let comment = sections.first(".comment"), comment.occupiesFile, comment.size <= 1 << 16 {
            let text = try reader.table("section .comment", at: comment.offset, size: comment.size)
            if String(decoding: text.bytes, as: UTF8.self).contains("rustc version") { found.insert(.rust) }
        }
        return found
    }
}
