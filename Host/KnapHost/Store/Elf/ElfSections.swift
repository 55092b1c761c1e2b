/// The named sections of a file: what tools left in it, such as the manifest; a loader does not read them.
struct ElfSections {
    struct Section {
        let name: String
        let type: UInt32
        let flags: UInt64
        let offset: UInt64
        let size: UInt64

        var occupiesFile: Bool { type != 8 }
    }

    let all: [Section]

    init(_ header: ElfHeader, _ reader: ElfReader<some ByteSource>) throws(ElfError) {
        let (offset, count) = header.sectionHeaders
        guard count > 0 else {
            all = []
            return
        }
        let table = try reader.table("section header table", at: offset, size: count * 64)
        guard header.sectionNames < count else {
            throw ElfError(
                code: .corrupt, message: "its section names are in section \(header.sectionNames) of \(count)")
        }
        let namesAt = header.sectionNames * 64
        let names = try reader.table(
            "section name table", at: table.u64(namesAt + 24), size: table.u64(namesAt + 32))
        var sections: [Section] = []
        sections.reserveCapacity(Int(count))
        for index in 0..<Int(count) {
            let at = index * 64
            sections.append(
                Section(
                    name: index == 0 ? "" : try names.string(UInt64(table.u32(at))), type: try table.u32(at + 4),
                    flags: try table.u64(at + 8), offset: try table.u64(at + 24), size: try table.u64(at + 32)))
        }
        all = sections
    }

    func first(_ name: String) -> Section? { all.first { $0.name == name } }

    /// The only section of that name; a second one could show one reader another content than the next.
    func only(_ name: String) throws(ElfError) -> Section? {
        let found = all.filter { $0.name == name }
        guard found.count <= 1 else {
            throw ElfError(code: .corrupt, message: "it has \(found.count) sections named \(name); it may have one")
        }
        return found.first
    }
}
