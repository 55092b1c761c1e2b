/// The section headers of a library, to which sections can be added behind its end. Nothing that is mapped moves.
struct ElfSectionTable {
    /// What makes a file know the table: its bytes, and bytes 40..<64 of the ELF header.
    struct Written {
        let bytes: [UInt8]
        let header: [UInt8]
    }

    static let headerRange = 40..<64
    private static let entrySize = 64

    private let header: [UInt8]
    private var table: [UInt8]
    private var names: [UInt8]
    private let namesIndex: Int

    /// A library without sections gets the first two: the empty one, and that of the names.
    init(_ header: ElfHeader, _ reader: ElfReader<some ByteSource>) throws(ElfError) {
        self.header = try reader.table("ELF header", at: UInt64(Self.headerRange.lowerBound), size: 24).bytes
        let (offset, count) = header.sectionHeaders
        guard count > 0 else {
            names = [0] + Array(".shstrtab".utf8) + [0]
            table = [UInt8](repeating: 0, count: Self.entrySize) + Self.entry(name: 1, type: 3, offset: 0, size: 0)
            namesIndex = 1
            return
        }
        let headers = try reader.table("section header table", at: offset, size: count * UInt64(Self.entrySize))
        let at = header.sectionNames * Self.entrySize
        names = try reader.table("section name table", at: headers.u64(at + 24), size: headers.u64(at + 32)).bytes
        table = headers.bytes
        namesIndex = header.sectionNames
    }

    /// Adds a section whose content is at `offset` of the file.
    mutating func add(_ name: String, offset: Int, size: Int) throws(ElfError) {
        let count = table.count / Self.entrySize + 1
        guard count < 0xFF00 else {
            throw ElfError(code: .corrupt, message: "it has \(count) sections, too many to add one; strip it first")
        }
        table += Self.entry(name: names.count, type: 1, offset: offset, size: size)
        names += Array(name.utf8) + [0]
    }

    /// Gives the section at an index another content.
    mutating func move(_ index: Int, offset: Int, size: Int) {
        let at = index * Self.entrySize
        table.replaceSubrange(at + 24..<at + 40, with: Self.field(offset, 8) + Self.field(size, 8))
    }

    /// The names and the headers, to be put at `offset` of the file.
    func written(at offset: Int) -> Written {
        let padding = [UInt8](repeating: 0, count: -(offset + names.count) & 7)
        var table = self
        table.move(namesIndex, offset: offset, size: names.count)
        var header = header
        header.replaceSubrange(0..<8, with: Self.field(offset + names.count + padding.count, 8))
        header.replaceSubrange(
            18..<24, with: Self.field(Self.entrySize, 2) + Self.field(table.table.count / Self.entrySize, 2) + Self.field(namesIndex, 2))
        return Written(bytes: names + padding + table.table, header: header)
    }

    private static func entry(name: Int, type: Int, offset: Int, size: Int) -> [UInt8] {
        field(name, 4) + field(type, 4) + field(0, 16) + field(offset, 8) + field(size, 8) + field(0, 8) + field(1, 8)
            + field(0, 8)
    }

    private static func field(_ value: Int, _ width: Int) -> [UInt8] {
        (0..<width).map { $0 < 8 ? UInt8(truncatingIfNeeded: value >> (8 * $0)) : 0 }
    }
}
