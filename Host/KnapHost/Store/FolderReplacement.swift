import CLinux
import Glibc

/// A folder that is written aside and takes its place at once; when that does not come about nothing is left of it.
final class FolderReplacement {
    private let path: String
    private let part: String
    private let modes: (file: mode_t, executable: mode_t, folder: mode_t)
    private var folders: Set<String> = [""]
    private var isCommitted = false

    /// - Parameter isPrivate: only this user reads it, and nobody writes it.
    init(_ path: String, part: String? = nil, isPrivate: Bool = true) throws(StoreError) {
        self.path = path
        self.part = part ?? "\(path).\(getpid()).\(UInt64.random(in: .min ... .max)).tmp"
        modes = isPrivate ? (0o400, 0o500, 0o700) : (0o644, 0o755, 0o755)
        guard mkdir(self.part, modes.folder) == 0 else { throw .system(.output, "it cannot be created", self.part) }
        DeathPoint.reached("store-created")
    }

    deinit { if !isCommitted { DirectoryTree.remove(part) } }

    /// Writes one file of it; what arrives must be what was checked.
    func copy(
        _ source: borrowing StoredFile, _ layout: SignedLayout?, to file: String, isExecutable: Bool, _ expected: Digest
    ) throws(StoreError) {
        var hash = SHA256()
        let target = try create(file, isExecutable: isExecutable)
        try source.forEachChunk(of: layout) { (chunk) throws(StoreError) in
            hash.update(chunk)
            try target.write(chunk)
        }
        guard hash.finish() == expected else {
            throw StoreError(code: .notStable, message: "\(source.path): it changed while it was copied; it is tried again")
        }
        try target.synchronize()
    }

    private func create(_ file: String, isExecutable: Bool) throws(StoreError) -> StoredFile {
        var folder = ""
        for name in file.split(separator: "/").dropLast() {
            folder += (folder.isEmpty ? "" : "/") + name
            guard folders.insert(folder).inserted else { continue }
            guard mkdir("\(part)/\(folder)", modes.folder) == 0 else { throw .system(.output, "it cannot be created", "\(part)/\(folder)") }
        }
        return try StoredFile(creating: "\(part)/\(file)", mode: isExecutable ? modes.executable : modes.file)
    }

    /// Makes all of it durable, where it was written.
    func keep() throws(StoreError) {
        for folder in folders { try StoreDirectory.synchronize(directoryOf: "\(part)/\(folder.isEmpty ? "" : folder + "/")") }
        isCommitted = true
    }

    /// Durable when it returns, in place of what was there.
    func commit() throws(StoreError) {
        DeathPoint.reached("store-filled")
        try keep()
        DeathPoint.reached("store-written")
        do throws(StoreError) { try Self.place(part, at: path) } catch {
            DirectoryTree.remove(part)
            throw error
        }
        DeathPoint.reached("store-renamed")
        try StoreDirectory.synchronize(directoryOf: path)
        DeathPoint.reached("store-durable")
    }

    /// Gives a file or a folder its name, in place of whatever has it.
    static func place(_ part: String, at path: String) throws(StoreError) {
        if rename(part, path) == 0 { return }
        guard errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR || errno == EISDIR, knap_exchange(part, path) == 0 else {
            throw .system(.output, "it cannot be put in place", path)
        }
        DirectoryTree.remove(part)
    }
}
