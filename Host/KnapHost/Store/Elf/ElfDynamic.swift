/// What the dynamic loader will act on: the dynamic table and the tables it points to.
///
/// Found through the program headers as the loader does, never through the sections, which a forger is free to make
/// say something else.
struct ElfDynamic {
    let needed: [String]
    let soname: String?
    /// Where the loader looks for what it needs, in addition: `DT_RPATH` and `DT_RUNPATH`.
    let searchPaths: [String]
    let flags: UInt64
    let flags1: UInt64
    let symbols: [ElfSymbol]
    let imports: Set<String>
    let loadedBytes: Int
    /// The library has thread-local variables.
    let hasThreadLocals: Bool

    init(_ header: ElfHeader, _ reader: ElfReader<some ByteSource>) throws(ElfError) {
        let segments = try ElfSegments(header, reader)
        guard let dynamic = segments.dynamic else {
            throw ElfError(
                code: .noDynamicSection,
                message: "it has no dynamic section: nothing could load it; link it with -shared")
        }
        guard dynamic.fileSize <= DynamicEntries.maximumSize else {
            throw ElfError(code: .corrupt, message: "its dynamic section claims \(dynamic.fileSize) bytes")
        }
        let entries = try DynamicEntries(
            reader.table("dynamic section", at: dynamic.offset, size: dynamic.fileSize))
        let strings = try Self.strings(entries, segments, reader)
        var needed: [String] = []
        for offset in entries.all(.needed) { needed.append(try strings.string(offset)) }
        self.needed = needed
        soname = if let offset = entries.value(.soname) { try strings.string(offset) } else { nil }
        var searchPaths: [String] = []
        for offset in entries.all(.rpath) + entries.all(.runpath) {
            searchPaths += try strings.string(offset).split(separator: ":").map(String.init)
        }
        self.searchPaths = searchPaths
        flags = entries.value(.flags) ?? 0
        flags1 = entries.value(.flags1) ?? 0
        (symbols, imports) = try ElfSymbols(entries, segments, strings).read(reader)
        loadedBytes = segments.loaded.reduce(0) { $0.addingReportingOverflow(Int(clamping: $1.fileSize)).partialValue }
        hasThreadLocals = segments.hasThreadLocals
    }

    private static func strings(
        _ entries: DynamicEntries, _ segments: ElfSegments, _ reader: ElfReader<some ByteSource>
    ) throws(ElfError) -> ElfBytes {
        guard let address = entries.value(.stringTable), let size = entries.value(.stringTableSize) else {
            throw ElfError(code: .corrupt, message: "its dynamic section has no string table")
        }
        return try reader.table(
            "dynamic string table", at: segments.fileOffset(of: address, "dynamic string table"), size: size)
    }
}

/// The program headers, and where in the file an address of the running library is.
struct ElfSegments {
    struct Segment {
        let offset: UInt64
        let address: UInt64
        let fileSize: UInt64
    }

    private(set) var loaded: [Segment] = []
    private(set) var dynamic: Segment?
    private(set) var hasThreadLocals = false

    init(_ header: ElfHeader, _ reader: ElfReader<some ByteSource>) throws(ElfError) {
        let (offset, count) = header.programHeaders
        let table = try reader.table("program header table", at: offset, size: count * 56)
        for index in 0..<Int(count) {
            let at = index * 56
            let segment = Segment(
                offset: try table.u64(at + 8), address: try table.u64(at + 16), fileSize: try table.u64(at + 32))
            switch try table.u32(at) {
            case 1: loaded.append(try Self.checked(segment, reader))
            case 2: dynamic = segment
            case 7: hasThreadLocals = true
            default: break
            }
        }
    }

    func fileOffset(of address: UInt64, _ what: String) throws(ElfError) -> UInt64 {
        for segment in loaded where address >= segment.address && address - segment.address < segment.fileSize {
            let (offset, overflow) = segment.offset.addingReportingOverflow(address - segment.address)
            if !overflow { return offset }
        }
        throw ElfError(code: .corrupt, message: "its \(what) is outside of what would be loaded")
    }

    /// A loaded segment must be in the file, or touching its pages would be a SIGBUS.
    private static func checked(
        _ segment: Segment, _ reader: ElfReader<some ByteSource>
    ) throws(ElfError) -> Segment {
        let (end, overflow) = segment.offset.addingReportingOverflow(segment.fileSize)
        guard !overflow, end <= UInt64(reader.source.size) else {
            throw ElfError(
                code: .truncated,
                message: "it is cut short: it should be loaded up to byte \(end), the file has "
                    + "\(reader.source.size); copy it again")
        }
        return segment
    }
}

/// The tags and values of the dynamic section.
struct DynamicEntries {
    enum Tag: UInt64 {
        case needed = 1
        case hash = 4
        case stringTable = 5
        case symbolTable = 6
        case stringTableSize = 10
        case symbolSize = 11
        case soname = 14
        case rpath = 15
        case runpath = 29
        case flags = 30
        case gnuHash = 0x6FFF_FEF5
        case flags1 = 0x6FFF_FFFB
    }

    /// 4,096 entries: over a hundred times those of a large library.
    static let maximumSize: UInt64 = 1 << 16

    private let entries: [(tag: UInt64, value: UInt64)]

    init(_ table: ElfBytes) throws(ElfError) {
        var entries: [(tag: UInt64, value: UInt64)] = []
        for at in stride(from: 0, to: table.count - 15, by: 16) {
            let tag = try table.u64(at)
            if tag == 0 { break }
            entries.append((tag, try table.u64(at + 8)))
        }
        self.entries = entries
    }

    /// The last one, as glibc has it.
    func value(_ tag: Tag) -> UInt64? { entries.last { $0.tag == tag.rawValue }?.value }
    func all(_ tag: Tag) -> [UInt64] { entries.filter { $0.tag == tag.rawValue }.map(\.value) }
}
