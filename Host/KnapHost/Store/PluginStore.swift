import Glibc
import KnapJSON
import Synchronization

/// The content store: plugins' libraries under the names of their digests, in files that only the host writes.
///
/// A library is never loaded from where it was dropped: `cp` over a mapped file breaks whoever runs it, and the dynamic
/// linker takes one path or inode for one library for ever. So each content is copied to a new inode, and what was
/// checked is what is loaded.
///
/// All functions block.
package final class PluginStore: Sendable {
    private let directory: String
    /// Digests of files by what identifies an unchanged one, so that a warm start hashes nothing.
    private let known: Mutex<[String: String]>
    private var cachePath: String { directory + "/digests.json" }

    package init(directory: String) throws(StoreError) {
        self.directory = directory
        guard makeDirectory(directory) else {
            throw StoreError(code: .unwritable, message: "\(directory) cannot be made: \(errorText(errno))")
        }
        var digests: [String: String] = [:]
        // A damaged cache costs a hash for each file and nothing else.
        let cache = readFile(directory + "/digests.json").flatMap { try? JSON.parse($0) }
        for (key, value) in cache?.objectValue?.members ?? [] { digests[key] = value.stringValue }
        known = Mutex(digests)
    }

    /// Takes a library in: checks it without running any of it, and copies it.
    package func take(_ path: String) throws(StoreError) -> Artifact {
        let file = try FileContent(path)
        let image: ElfImage
        let notes: [String]
        do throws(ElfError) {
            image = try ElfImage(file)
            notes = try image.checkEntry()
        } catch {
            throw StoreError(code: .notAPlugin, message: "\(path): \(error.message)")
        }
        let (manifest, manifestDigest) = try manifest(of: path, image)
        let libraryDigest = try digest(of: file, path)
        let copy = "\(directory)/\(libraryDigest).so"
        try keep(file, as: copy, digest: libraryDigest)
        return Artifact(
            libraryDigest: libraryDigest, digest: Digest.sha256(Array((libraryDigest + manifestDigest).utf8)),
            manifest: manifest, path: copy, warnings: notes)
    }

    /// The path to load, once its content is what was checked.
    package func verify(_ artifact: Artifact) throws(StoreError) -> String {
        let file = try FileContent(artifact.path)
        guard try digest(of: file, artifact.path) == artifact.libraryDigest else {
            unlink(artifact.path)
            throw StoreError(
                code: .changed,
                message:
                    "the host's copy of \(artifact.manifest.name) was changed or damaged; start again to copy it anew")
        }
        return artifact.path
    }

    // MARK: Manifest

    /// Embedded, beside the library (`NAME.json`), or both when they agree.
    private func manifest(of path: String, _ image: ElfImage) throws(StoreError) -> (Manifest, digest: String) {
        let sidecar = String(path.dropLast(".so".count)) + ".json"
        let beside = readFile(sidecar)
        guard let text = image.manifest ?? beside else {
            throw StoreError(
                code: .noManifest,
                message: "\(path) has no manifest: embed one as section .knap, or put it beside it as \(sidecar)")
        }
        let name = image.manifest != nil ? path : sidecar
        let manifest: Manifest
        do { manifest = try Manifest(text, file: name) } catch {
            throw StoreError(code: .noManifest, message: "\(error)")
        }
        if image.manifest != nil, let beside {
            guard let inner = try? JSON.parse(text), let outer = try? JSON.parse(beside), inner == outer else {
                throw StoreError(
                    code: .manifestsDisagree,
                    message:
                        "the manifest in \(path) and the one in \(sidecar) differ; remove one of them or make them the same"
                )
            }
        }
        return (manifest, Digest.sha256(text))
    }

    // MARK: Content

    private func digest(of file: FileContent, _ path: String) throws(StoreError) -> String {
        let key = file.identity
        if let digest = known.withLock({ $0[key] }) { return digest }
        let digest = file.withBytes { Digest.sha256($0) }
        guard try FileContent(path).identity == key else {
            throw StoreError(
                code: .unstable, message: "\(path) is still being written; it is taken when it is complete")
        }
        let cache = known.withLock { known in
            known[key] = digest
            return JSON.object(JSONObject(known.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
        }
        _ = replaceFile(cachePath, with: Array(cache.serialized().utf8), mode: 0o600)  // only a cache
        return digest
    }

    private func keep(_ file: FileContent, as copy: String, digest wanted: String) throws(StoreError) {
        if let there = try? FileContent(copy), try digest(of: there, copy) == wanted { return }
        let written = file.withBytes { replaceFile(copy, with: Array($0), mode: 0o500) }
        guard written else {
            throw StoreError(code: .unwritable, message: "\(copy) cannot be written: \(errorText(errno))")
        }
        guard try digest(of: FileContent(copy), copy) == wanted else {
            unlink(copy)
            throw StoreError(
                code: .unstable,
                message: "the file changed while it was copied to \(copy); it is taken when it is complete")
        }
    }
}

/// A file's bytes, read once: what is checked, copied and digested is the same.
final class FileContent: ByteSource {
    // Allocated and filled in `init`, never changed until `deinit`.
    nonisolated(unsafe) private let bytes: UnsafeRawBufferPointer
    /// Inode, size and times: the same for as long as nobody changes the file.
    let identity: String

    init(_ path: String) throws(StoreError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw StoreError(code: .unreadable, message: "\(path) cannot be read: \(errorText(errno))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw StoreError(code: .unreadable, message: "\(path) is not a file")
        }
        identity =
            "\(status.st_dev):\(status.st_ino):\(status.st_size):\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec):"
            + "\(status.st_ctim.tv_sec).\(status.st_ctim.tv_nsec)"
        guard status.st_size > 0 else {
            throw StoreError(code: .notAPlugin, message: "\(path): it is empty")
        }
        // Read rather than mapped: a file that shrinks under a mapping kills the host with SIGBUS.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(status.st_size), alignment: 16)
        var count = 0
        while count < memory.count {
            let got = pread(descriptor, memory.baseAddress.map { $0 + count }, memory.count - count, off_t(count))
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { break }
            count += got
        }
        guard count == memory.count else {
            memory.deallocate()
            throw StoreError(
                code: .unstable, message: "\(path) is still being written; it is taken when it is complete")
        }
        bytes = UnsafeRawBufferPointer(memory)
    }

    deinit { bytes.deallocate() }

    var size: Int { bytes.count }

    func read(at offset: Int, count: Int) -> [UInt8] {
        let start = min(offset, bytes.count)
        return Array(bytes[start..<min(bytes.count, start + count)])
    }

    func withBytes<T>(_ body: (UnsafeRawBufferPointer) -> T) -> T { body(bytes) }
}
