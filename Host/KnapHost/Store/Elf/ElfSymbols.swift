/// A symbol that other libraries can see.
package struct ElfSymbol: Sendable, Hashable {
    package let name: String
    /// A function rather than data.
    package let isFunction: Bool
    /// `STB_GNU_UNIQUE`: its library stays loaded for ever.
    package let isUnique: Bool
}

/// The dynamic symbol table, as far as the loader's hash table reaches.
struct ElfSymbols {
    private let entries: DynamicEntries
    private let segments: ElfSegments
    private let strings: ElfBytes
    private static let entrySize: UInt64 = 24

    init(_ entries: DynamicEntries, _ segments: ElfSegments, _ strings: ElfBytes) {
        self.entries = entries
        self.segments = segments
        self.strings = strings
    }

    /// The exported ones (global, weak or unique, defined here, visible) and the names of those that it imports.
    func read(_ reader: ElfReader<some ByteSource>) throws(ElfError) -> ([ElfSymbol], imports: Set<String>) {
        guard let address = entries.value(.symbolTable) else { return ([], []) }
        if let size = entries.value(.symbolSize), size != Self.entrySize {
            throw ElfError(code: .corrupt, message: "its dynamic symbols have \(size) bytes each instead of 24")
        }
        let range = try range(reader)
        guard !range.isEmpty else { return ([], []) }
        let start = try segments.fileOffset(of: address, "dynamic symbol table")
        let (offset, overflow) = start.addingReportingOverflow(UInt64(range.lowerBound) * Self.entrySize)
        guard !overflow else { throw ElfError(code: .corrupt, message: "its dynamic symbol table wraps around") }
        let table = try reader.table("dynamic symbol table", at: offset, size: UInt64(range.count) * Self.entrySize)
        var symbols: [ElfSymbol] = []
        var imports: Set<String> = []
        var nameBytes = 0
        for at in stride(from: 0, to: table.count, by: Int(Self.entrySize)) {
            if let symbol = try exported(table, at) {
                nameBytes += symbol.name.utf8.count
                symbols.append(symbol)
            } else if let name = try imported(table, at) {
                nameBytes += name.utf8.count
                imports.insert(name)
            }
            // Names may overlap in the string table, so a small file can claim terabytes of them.
            guard nameBytes <= ElfBytes.maximumNames else {
                throw ElfError(code: .corrupt, message: "the names of its symbols fill more than the file")
            }
        }
        return (symbols, imports)
    }

    private func imported(_ table: ElfBytes, _ at: Int) throws(ElfError) -> String? {
        let binding = try table.u8(at + 4) >> 4
        guard binding == 1 || binding == 2, try table.u16(at + 6) == 0 else { return nil }
        return try strings.string(UInt64(table.u32(at)), limit: 1 << 16)
    }

    private func exported(_ table: ElfBytes, _ at: Int) throws(ElfError) -> ElfSymbol? {
        let info = try table.u8(at + 4)
        let binding = info >> 4
        let isUnique = binding == 10
        guard binding == 1 || binding == 2 || isUnique else { return nil }
        // Undefined is somebody else's; internal and hidden ones are found by no lookup.
        let visibility = try table.u8(at + 5) & 3
        guard try table.u16(at + 6) != 0, visibility == 0 || visibility == 3 else { return nil }
        let type = info & 15
        return ElfSymbol(
            name: try strings.string(UInt64(table.u32(at)), limit: 1 << 16), isFunction: type == 2 || type == 10,
            isUnique: isUnique)
    }

    /// All symbols, as far as the hash table says; the symbol table itself does not say how long it is.
    private func range(_ reader: ElfReader<some ByteSource>) throws(ElfError) -> Range<UInt32> {
        if let address = entries.value(.gnuHash) {
            return 0..<(try gnuHashEnd(segments.fileOffset(of: address, "GNU hash table"), reader))
        }
        guard let address = entries.value(.hash) else { return 0..<0 }
        let header = try reader.table("hash table", at: segments.fileOffset(of: address, "hash table"), size: 8)
        return 0..<(try header.u32(4))
    }

    /// The end of the chain of the highest bucket; without any, where hashed symbols would begin.
    private func gnuHashEnd(_ offset: UInt64, _ reader: ElfReader<some ByteSource>) throws(ElfError) -> UInt32 {
        let what = "GNU hash table"
        let header = try reader.table(what, at: offset, size: 16)
        let (bucketCount, first, bloomWords) = (try header.u32(0), try header.u32(4), try header.u32(8))
        let bucketsAt = offset + 16 + 8 * UInt64(bloomWords)
        let buckets = try reader.table(what, at: bucketsAt, size: 4 * UInt64(bucketCount))
        var last: UInt32 = 0
        for index in 0..<Int(bucketCount) { last = max(last, try buckets.u32(4 * index)) }
        guard last >= first, last > 0 else { return first }
        let chainsAt = bucketsAt + 4 * UInt64(bucketCount)
        return try chainEnd(from: last, at: chainsAt + 4 * UInt64(last - first), reader)
    }

    /// One past the symbol whose link has the low bit set, which ends a chain.
    private func chainEnd(
        from symbol: UInt32, at offset: UInt64, _ reader: ElfReader<some ByteSource>
    ) throws(ElfError) -> UInt32 {
        let block: UInt64 = 4096
        var (symbol, offset) = (symbol, offset)
        while true {
            let size = min(block, UInt64(reader.source.size) - min(offset, UInt64(reader.source.size)))
            let links = try reader.table("GNU hash table", at: offset, size: max(size & ~3, 4))
            for at in stride(from: 0, to: links.count, by: 4) {
                guard symbol < UInt32.max else {
                    throw ElfError(code: .corrupt, message: "its GNU hash table does not end")
                }
                symbol += 1
                if try links.u32(at) & 1 == 1 { return symbol }
            }
            offset += UInt64(links.count)
        }
    }
}
