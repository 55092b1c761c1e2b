/// Bounds-checked access to the tables of an ELF file: every offset and length in it may be a lie.
struct ElfReader<Source: ByteSource> {
    /// No table of a real plugin comes near; a forged length must not become a gigabyte of memory.
    static var maximumTable: Int { 64 << 20 }

    let source: Source

    /// The bytes of `what`, all of them.
    func table(_ what: String, at offset: UInt64, size: UInt64) throws(ElfError) -> ElfBytes {
        guard size <= Self.maximumTable else {
            throw ElfError(code: .corrupt, message: "its \(what) claims \(size) bytes, more than any library has")
        }
        let (end, overflow) = offset.addingReportingOverflow(size)
        guard !overflow, end <= UInt64(source.size) else { throw Self.truncated(what, end: end, size: source.size) }
        let bytes = try source.read(at: Int(offset), count: Int(size))
        guard bytes.count == Int(size) else { throw Self.truncated(what, end: end, size: source.size) }
        return ElfBytes(what: what, bytes: bytes)
    }

    private static func truncated(_ what: String, end: UInt64, size: Int) -> ElfError {
        ElfError(
            code: .truncated,
            message: "it is cut short: its \(what) reaches to byte \(end), the file has \(size); copy it again")
    }
}

/// Little-endian fields of one table.
struct ElfBytes {
    let what: String
    let bytes: [UInt8]

    /// All names of one kind together.
    static let maximumNames = 64 << 20

    var count: Int { bytes.count }

    func u8(_ offset: Int) throws(ElfError) -> UInt8 { UInt8(truncatingIfNeeded: try field(offset, width: 1)) }
    func u16(_ offset: Int) throws(ElfError) -> UInt16 { UInt16(truncatingIfNeeded: try field(offset, width: 2)) }
    func u32(_ offset: Int) throws(ElfError) -> UInt32 { UInt32(truncatingIfNeeded: try field(offset, width: 4)) }
    func u64(_ offset: Int) throws(ElfError) -> UInt64 { try field(offset, width: 8) }

    /// The NUL-terminated string at `offset` of a string table; bytes that are not UTF-8 become U+FFFD.
    func string(_ offset: UInt64, limit: Int = 4096) throws(ElfError) -> String {
        guard offset < UInt64(bytes.count) else { throw outside(Int(clamping: offset)) }
        let tail = bytes[Int(offset)...].prefix(limit)
        guard let end = tail.firstIndex(of: 0) else {
            throw ElfError(code: .corrupt, message: "a string in its \(what) does not end within \(limit) bytes")
        }
        return String(decoding: tail[..<end], as: UTF8.self)
    }

    private func field(_ offset: Int, width: Int) throws(ElfError) -> UInt64 {
        guard offset >= 0, offset <= bytes.count - width else { throw outside(offset) }
        var value: UInt64 = 0
        for index in 0..<width { value |= UInt64(bytes[offset + index]) << (8 * UInt64(index)) }
        return value
    }

    private func outside(_ offset: Int) -> ElfError {
        ElfError(code: .corrupt, message: "its \(what) refers to byte \(offset) of \(bytes.count)")
    }
}
