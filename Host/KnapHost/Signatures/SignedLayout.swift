/// Where in a file the library ends and its signature begins.
///
/// `knap plugins sign` only appends, and changes three fields of the ELF header, so that the file is the library that was
/// signed and something around it that follows from it:
///
///     the library │ the block │ bytes 40..<64 of its header │ section names │ section headers
///                   .knap.sig   as they were                  its own and that of .knap.sig
///
/// The digest is that of the library as it was, so signing changes no plugin's identity; and a file whose last four parts
/// are not exactly what signing makes is refused, so that nothing in it can be changed unnoticed.
struct SignedLayout: Sendable {
    /// The library's own bytes, from the start of the file.
    let librarySize: Int
    /// Bytes 40..<64 of the library's header (the place and number of its sections); nil: as the file has them.
    let header: [UInt8]?
    /// What `.knap.sig` holds; none without a signature.
    let block: [UInt8]?
    /// It has a section `.knap.sig`, but not as signing makes it.
    let problem: ElfError?

    static let headerRange = ElfSectionTable.headerRange
    private static let section = ".knap.sig"

    /// Of a file that cannot be read as ELF this says that it is not signed: what is wrong with it others tell better.
    init(_ file: some ByteSource) {
        let reader = ElfReader(source: file)
        guard let header = try? ElfHeader(reader), let sections = try? ElfSections(header, reader),
            sections.first(Self.section) != nil
        else {
            self.init(librarySize: file.size, header: nil, block: nil, problem: nil)
            return
        }
        do throws(ElfError) {
            guard let section = try sections.only(Self.section), section.occupiesFile,
                section.size <= SignatureBlock.maximumSize, section.offset <= UInt64(file.size)
            else { throw Self.damaged }
            let block = try reader.table("section \(Self.section)", at: section.offset, size: section.size).bytes
            let saved = try reader.table("saved header", at: section.offset + section.size, size: 24).bytes
            let layout = SignedLayout(librarySize: Int(section.offset), header: saved, block: block, problem: nil)
            let expected = try Appendix(to: LibrarySource(file, layout), block: block)
            guard try file.read(at: Self.headerRange.lowerBound, count: Self.headerRange.count) == expected.header,
                file.size == layout.librarySize + expected.bytes.count,
                try file.read(at: layout.librarySize, count: expected.bytes.count) == expected.bytes
            else { throw Self.damaged }
            self = layout
        } catch {
            self.init(librarySize: file.size, header: nil, block: nil, problem: error.code == .unreadable ? error : Self.damaged)
        }
    }

    init(librarySize: Int, header: [UInt8]?, block: [UInt8]?, problem: ElfError?) {
        self.librarySize = librarySize
        self.header = header
        self.block = block
        self.problem = problem
    }

    private static let damaged = ElfError(
        code: .badSignature,
        message: "its section .knap.sig is not as 'knap plugins sign' writes it, so the file was changed since it was signed: "
            + "get it again from its author (who signs last, after strip and objcopy)")

    /// What signing puts behind a library, and into its header.
    struct Appendix {
        let header: [UInt8]
        let bytes: [UInt8]

        init(to library: some ByteSource, block: [UInt8]) throws(ElfError) {
            let reader = ElfReader(source: library)
            let old = try ElfHeader(reader)
            guard try ElfSections(old, reader).first(SignedLayout.section) == nil else { throw SignedLayout.damaged }
            let saved = try reader.table("ELF header", at: UInt64(headerRange.lowerBound), size: UInt64(headerRange.count)).bytes
            var table = try ElfSectionTable(old, reader)
            try table.add(SignedLayout.section, offset: library.size, size: block.count)
            let written = table.written(at: library.size + block.count + saved.count)
            header = written.header
            bytes = block + saved + written.bytes
        }
    }
}

/// The library in a file, without its signature.
struct LibrarySource<File: ByteSource>: ByteSource {
    private let file: File
    private let layout: SignedLayout

    init(_ file: File, _ layout: SignedLayout) {
        self.file = file
        self.layout = layout
    }

    var size: Int { layout.librarySize }

    func read(at offset: Int, count: Int) throws(ElfError) -> [UInt8] {
        var bytes = try file.read(at: offset, count: max(0, min(count, size - offset)))
        bytes.withUnsafeMutableBytes { layout.restore($0, at: offset) }
        return bytes
    }
}

extension SignedLayout {
    /// Puts the library's own header fields into bytes that were read at `offset`.
    func restore(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
        guard let header else { return }
        for index in Self.headerRange where index >= offset && index - offset < bytes.count {
            bytes[index - offset] = header[index - Self.headerRange.lowerBound]
        }
    }
}
