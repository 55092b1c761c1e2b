import Glibc

/// Files and folders of an author's; what fails says which file.
enum FileTree {
    static func failure(_ path: String, _ number: CInt = errno) -> CommandFailure {
        CommandFailure(
            number == ENOENT ? ExitStatus.notFound : number == EACCES || number == EROFS ? ExitStatus.permission : ExitStatus.inputOutput,
            "FILE", "\(path): \(String(cString: strerror(number)))")
    }

    static func isDirectory(_ path: String) -> Bool { kind(path) == S_IFDIR }
    static func isFile(_ path: String) -> Bool { kind(path) == S_IFREG }

    private static func kind(_ path: String) -> mode_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & S_IFMT : nil
    }

    /// What is in a folder, sorted.
    static func names(in directory: String) throws -> [String] {
        guard let stream = opendir(directory) else { throw failure(directory) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Makes a folder and those above it.
    static func make(_ directory: String) throws {
        guard !isDirectory(directory), !directory.isEmpty else { return }
        if let slash = directory.lastIndex(of: "/"), slash != directory.startIndex { try make(String(directory[..<slash])) }
        guard mkdir(directory, 0o777) == 0 else { throw failure(directory) }
    }

    static func read(_ path: String) throws -> [UInt8] {
        guard let file = fopen(path, "re") else { throw failure(path) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&piece, 1, piece.count, file)
            bytes += piece[..<count]
            if count < piece.count { break }
        }
        guard ferror(file) == 0 else { throw failure(path) }
        return bytes
    }

    static func write(_ bytes: [UInt8], to path: String) throws {
        guard let file = fopen(path, "wxe") else { throw failure(path) }
        let written = fwrite(bytes, 1, bytes.count, file)
        guard fclose(file) == 0, written == bytes.count else { throw failure(path) }
    }

    /// Removes a folder with all that is in it; what cannot be removed stays.
    static func remove(_ directory: String) {
        for name in (try? names(in: directory)) ?? [] {
            let path = "\(directory)/\(name)"
            if unlink(path) != 0 { remove(path) }
        }
        rmdir(directory)
    }
}
