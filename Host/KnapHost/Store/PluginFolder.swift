import CLinux
import Glibc

/// A plugin that comes as a folder: its library and all that it needs beside it.
///
///     notes.knap/
///       notes.so             the plugin `notes`; its manifest inside, or in notes.json
///       libstemmer.so.1      private libraries, which it finds by its RUNPATH, $ORIGIN
///       words/english.txt    data, which it finds beside its own library (dladdr(3))
///
/// The folder is somebody else's. Whatever is opened in it is opened beneath it by the kernel (`RESOLVE_BENEATH`), so that no
/// link leads out, also not one that is put there meanwhile. A link to a file in it counts as a file.
final class PluginFolder {
    struct File: Hashable {
        /// Within the folder.
        let path: String
        let stamp: FileStamp
        let isExecutable: Bool
    }

    let path: String
    /// The plugin that it must hold.
    let name: String
    /// In the order of their paths.
    private(set) var files: [File] = []
    private let descriptor: CInt

    static let suffix = ".knap"
    private static let maximumFiles = 4096
    private static let maximumSize = 1 << 30
    private static let deepest = 32

    static func isOne(_ path: String) -> Bool { path.hasSuffix(suffix) || path.hasSuffix(suffix + "/") }

    /// Lists what is in it.
    convenience init(_ path: String) throws(StoreError) {
        let base = path.split(separator: "/").last.map(String.init) ?? path
        try self.init(path, name: String(base.dropLast(Self.suffix.utf8.count)))
    }

    init(_ path: String, name: String) throws(StoreError) {
        self.path = path
        self.name = name
        let root = try OpenDirectory(path)
        descriptor = fcntl(root.descriptor, F_DUPFD_CLOEXEC, 0)
        guard descriptor >= 0 else { throw .system(.input, "it cannot be opened", path) }
        try list(root, prefix: "", depth: 0)
        files.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        guard files.contains(where: { $0.path == libraryName }) else {
            throw StoreError(
                code: .notAPlugin, message: "\(path): it holds no library \(libraryName); a folder and the plugin in it have one name")
        }
        let size = files.reduce(0) { $0 + $1.stamp.size }
        guard size <= Self.maximumSize else {
            throw StoreError(code: .tooLarge, message: "\(path): it holds \(size) bytes; 1 GiB is allowed")
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    var libraryName: String { name + ".so" }
    /// All but the library, whose content is what it was before it was signed.
    var companions: [File] { files.filter { $0.path != libraryName } }

    func open(_ file: String) throws(StoreError) -> StoredFile {
        try StoredFile(beneath: descriptor, file, path: "\(path)/\(file)")
    }

    /// Fails when anything came, went or was written since it was listed.
    func checkUnchanged() throws(StoreError) {
        guard (try? PluginFolder(path, name: name))?.files == files else {
            throw StoreError(code: .notStable, message: "\(path): it changed while it was read; it is tried again")
        }
    }

    /// The digest of every path with its content's, in their order.
    func digest(_ content: (File) throws(StoreError) -> Digest) throws(StoreError) -> Digest {
        var bytes: [UInt8] = []
        for file in companions {
            bytes += Array(file.path.utf8) + [0, file.isExecutable ? 1 : 0] + (try content(file)).bytes
        }
        return SHA256.digest(bytes)
    }

    // MARK: Listing

    private func list(_ directory: borrowing OpenDirectory, prefix: String, depth: Int) throws(StoreError) {
        guard depth < Self.deepest else {
            throw StoreError(code: .tooLarge, message: "\(path): it is more than \(Self.deepest) directories deep")
        }
        for bytes in try directory.names() {
            guard let text = String(validating: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) else {
                throw StoreError(code: .notAPlugin, message: "\(path): a name in \(prefix.isEmpty ? "it" : prefix) is not UTF-8")
            }
            let inner = prefix + text
            var status = stat()
            guard fstatat(directory.descriptor, bytes, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
                throw .system(.notStable, "\(inner) cannot be read", path)
            }
            if status.st_mode & S_IFMT == S_IFDIR {
                try list(OpenDirectory(bytes, in: directory), prefix: inner + "/", depth: depth + 1)
                continue
            }
            if status.st_mode & S_IFMT == S_IFLNK { status = try target(of: inner) }
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw StoreError(
                    code: .notAPlugin,
                    message: "\(path): \(inner) is a device, a pipe or a socket; a plugin's folder holds files and folders")
            }
            files.append(File(path: inner, stamp: FileStamp(status), isExecutable: status.st_mode & 0o111 != 0))
            guard files.count <= Self.maximumFiles else {
                throw StoreError(code: .tooLarge, message: "\(path): it holds more than \(Self.maximumFiles) files")
            }
        }
    }

    private func target(of link: String) throws(StoreError) -> stat {
        func refused(_ what: String) -> StoreError {
            StoreError(code: .notAPlugin, message: "\(path): its link \(link) \(what); put the file itself there")
        }
        let place = knap_open_beneath(descriptor, link, 1)
        if place < 0 {
            switch errno {
            case EXDEV: throw refused("leads out of the folder")
            case ENOENT, ELOOP: throw refused("leads nowhere")
            default: throw .system(.input, "the link \(link) cannot be followed", path)
            }
        }
        defer { close(place) }
        var status = stat()
        guard fstat(place, &status) == 0 else { throw .system(.input, "the link \(link) cannot be followed", path) }
        if status.st_mode & S_IFMT == S_IFDIR { throw refused("leads to a folder") }
        return status
    }
}

// MARK: What is loaded with the plugin

extension PluginFolder {
    /// The libraries beside the plugin's own, checked as it is: a truncated one would end the process that loads it.
    func privateLibraries(of library: ElfImage) throws(StoreError) -> [PrivateLibrary] {
        try check(library.searchPaths, of: libraryName)
        var found: [PrivateLibrary] = []
        for file in companions
        where file.name.hasSuffix(".so") || file.name.contains(".so.") || library.needed.contains(file.name) {
            let open = try open(file.path)
            let image: ElfImage
            do throws(ElfError) {
                image = try ElfImage(FileSource(descriptor: open.descriptor, size: file.stamp.size))
            } catch {
                let code: StoreError.Code = error.code == .unreadable ? .input : .notAPlugin
                throw StoreError(code: code, message: "\(path)/\(file.path): \(error.message)")
            }
            try check(image.searchPaths, of: file.path)
            found.append(PrivateLibrary(path: file.path, image: image))
        }
        return found
    }

    /// `$ORIGIN/..` would lead out of the folder in the drop directory, and in the store to other plugins.
    private func check(_ searchPaths: [String], of library: String) throws(StoreError) {
        let depth = library.split(separator: "/").count - 1
        for place in searchPaths {
            guard let origin = ["$ORIGIN", "${ORIGIN}"].first(where: { place.hasPrefix($0) }) else { continue }
            var level = depth
            for part in place.dropFirst(origin.count).split(separator: "/") where part != "." {
                level += part == ".." ? -1 : 1
                guard level >= 0 else {
                    throw StoreError(
                        code: .notAPlugin,
                        message: "\(path): the search path of \(library), \(place), leads out of the folder; link it with "
                            + "-Wl,-rpath,'$ORIGIN' or a folder in it")
                }
            }
        }
    }
}

extension PluginFolder.File {
    var name: String { path.split(separator: "/").last.map(String.init) ?? path }
}

/// A library that a plugin brings along.
package struct PrivateLibrary: Sendable {
    /// Within the plugin's folder.
    let path: String
    let image: ElfImage

    /// What others that need it call it.
    var name: String { path.split(separator: "/").last.map(String.init) ?? path }
}
