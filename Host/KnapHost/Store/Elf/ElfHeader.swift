/// The first 64 bytes of an ELF file, checked: 64-bit, little-endian, for this machine, a shared object.
struct ElfHeader {
    static let size: UInt64 = 64

    let programHeaders: (offset: UInt64, count: UInt64)
    let sectionHeaders: (offset: UInt64, count: UInt64)
    let sectionNames: Int

    init(_ reader: ElfReader<some ByteSource>) throws(ElfError) {
        let start = try reader.source.read(at: 0, count: Int(Self.size))
        guard start.starts(with: [0x7F, 0x45, 0x4C, 0x46]) else {
            throw ElfError(code: .notELF, message: "it is not an ELF file (\(Self.kind(of: start)))")
        }
        let header = try reader.table("ELF header", at: 0, size: Self.size)
        guard try header.u8(4) == 2 else {
            throw ElfError(code: .wrongClass, message: "it is a 32-bit library; build it for 64-bit")
        }
        guard try header.u8(5) == 1 else {
            throw ElfError(code: .wrongByteOrder, message: "it is a big-endian library; this host is little-endian")
        }
        try Self.check(machine: header.u16(18))
        try Self.check(type: header.u16(16))
        try Self.check("program header", size: header.u16(54), expected: 56)
        programHeaders = (try header.u64(32), UInt64(try header.u16(56)))
        let sections = UInt64(try header.u16(60))
        if sections > 0 { try Self.check("section header", size: header.u16(58), expected: 64) }
        sectionHeaders = (try header.u64(40), sections)
        sectionNames = Int(try header.u16(62))
    }

    /// What stands where an ELF file should be, for those who dropped the wrong file.
    private static func kind(of start: [UInt8]) -> String {
        switch start {
        case let bytes where bytes.isEmpty: "it is empty"
        case let bytes where bytes.starts(with: Array("#!".utf8)): "it is a script"
        case let bytes where bytes.starts(with: Array("!<arch>".utf8)): "it is a static library"
        case let bytes where bytes.starts(with: Array("PK".utf8)): "it is a zip archive"
        case let bytes where bytes.starts(with: Array("\0asm".utf8)): "it is a WebAssembly module"
        case let bytes where bytes.starts(with: Array("MZ".utf8)): "it is a Windows library"
        case let bytes where bytes.starts(with: [0xCF, 0xFA, 0xED, 0xFE]): "it is a macOS library"
        case let bytes where bytes.starts(with: [0x7F]): "its first bytes are not those of ELF"
        default: "its first bytes are \(start.prefix(4).map { String($0, radix: 16) }.joined(separator: " "))"
        }
    }

    private static func check(machine: UInt16) throws(ElfError) {
        guard machine != ElfMachine.host.rawValue else { return }
        throw ElfError(
            code: .foreignMachine,
            message: "it is built for \(ElfMachine(rawValue: machine).name), this host runs on \(ElfMachine.host.name)")
    }

    private static func check(type: UInt16) throws(ElfError) {
        let kind: String
        switch type {
        case 3: return
        case 1: kind = "an object file; link it with -shared"
        case 2: kind = "a program; link it with -shared"
        case 4: kind = "a core dump"
        default: kind = "of the unknown type \(type)"
        }
        throw ElfError(code: .notSharedObject, message: "it is not a shared object but \(kind)")
    }

    private static func check(_ what: String, size: UInt16, expected: UInt16) throws(ElfError) {
        guard size == expected else {
            throw ElfError(code: .corrupt, message: "its \(what)s have \(size) bytes each instead of \(expected)")
        }
    }
}

/// The instruction set a file is for (`e_machine`).
struct ElfMachine {
    let rawValue: UInt16

    static var host: ElfMachine {
        #if arch(x86_64)
            ElfMachine(rawValue: 62)
        #elseif arch(arm64)
            ElfMachine(rawValue: 183)
        #else
            #error("Name this machine's e_machine")
        #endif
    }

    var name: String {
        switch rawValue {
        case 3: "x86 (32-bit)"
        case 8: "MIPS"
        case 20: "PowerPC"
        case 21: "PowerPC 64"
        case 22: "S/390"
        case 40: "ARM (32-bit)"
        case 62: "x86-64"
        case 183: "AArch64"
        case 243: "RISC-V"
        case 247: "BPF"
        case 258: "LoongArch"
        default: "the unknown machine \(rawValue)"
        }
    }
}
