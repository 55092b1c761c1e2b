import Glibc
import Synchronization

/// Where plugins are kept under the name of their content, and the only place they are loaded from.
///
/// A library in a drop directory is somebody else's: it can change while it is mapped (a SIGBUS), and `dlopen` gives back
/// the old one for the same path or inode. So it is checked, copied to `STATE/store/NAME/DIGEST.so` with an inode of its
/// own, and checked again before it is loaded. All calls block on the disk: make them on a thread that may.
package final class PluginStore: Sendable {
    private let directory: String
    /// A library is never read whole, but a name for any size would let one file fill the disk.
    private static let maximumLibrary = 1 << 30

    private struct State {
        var cache: DigestCache
        /// Contents that can never be a plugin for this host, and why; a new host looks again.
        var rejected: [Digest: StoreError] = [:]
        var hashedBytes = 0
    }
    private let state: Mutex<State>

    /// `directory` is `STATE/store`; it is created.
    package init(directory: String) throws(StoreError) {
        self.directory = directory
        try StoreDirectory.create(directory)
        state = Mutex(State(cache: DigestCache(reading: directory + "/digests.json")))
    }

    /// How much was hashed by this store; nothing on a warm start.
    package var hashedBytes: Int { state.withLock { $0.hashedBytes } }

    /// Checks the library at `path`, puts a copy into the store and says what it is.
    ///
    /// A content that failed is remembered by its digest: it fails again at once until its bytes change.
    package func take(_ path: String) throws(StoreError) -> Artifact {
        let file = try StoredFile(reading: path)
        let stamp = try file.stamp()
        guard stamp.size <= Self.maximumLibrary else {
            throw StoreError(code: .tooLarge, message: "\(path): it has \(stamp.size) bytes; 1 GiB is allowed")
        }
        let digest = try digest(of: file, stamp)
        let sidecar = try sidecar(of: path)
        let content = combine(digest, SHA256.digest(sidecar?.bytes ?? []))
        if let reason = state.withLock({ $0.rejected[content] }) {
            throw StoreError(code: .rejectedBefore, message: reason.message)
        }
        do {
            return try take(file, stamp, digest, sidecar)
        } catch {
            if error.isFinal { state.withLock { $0.rejected[content] = error } }
            throw error
        }
    }

    /// Opens an artifact for loading, after checking that it is still what was stored.
    package func open(_ artifact: Artifact) throws(StoreError) -> VerifiedLibrary {
        let file = try StoredFile(reading: artifact.path)
        guard try digest(of: file, try file.stamp()) == artifact.libraryDigest else {
            throw StoreError(
                code: .corrupted,
                message:
                    "\(artifact.path): its content is no longer that of its name; remove it and drop the plugin again")
        }
        return VerifiedLibrary(file: file)
    }

    /// What the store holds of a plugin under a digest, checked as if it came from outside: for a start after a crash or
    /// a return to an older generation.
    package func stored(_ name: String, _ digest: Digest) throws(StoreError) -> Artifact {
        let artifact = try take(path(name, digest, ".so"))
        guard artifact.digest == digest, artifact.manifest.name == name else {
            throw StoreError(
                code: .corrupted, message: "\(path(name, digest, ".so")): its content is no longer that of its name")
        }
        return artifact
    }

    /// Writes what was learnt, for the next start to be a warm one.
    package func save() throws(StoreError) {
        let path = directory + "/digests.json"
        var cache = state.withLock { $0.cache }
        guard cache.isChanged else { return }
        try cache.write(to: path)
        state.withLock { $0.cache = cache }
    }
}

extension PluginStore {
    private func take(
        _ file: borrowing StoredFile, _ stamp: FileStamp, _ libraryDigest: Digest,
        _ sidecar: (path: String, bytes: [UInt8])?
    ) throws(StoreError) -> Artifact {
        let (image, warnings) = try image(of: file, stamp)
        let source = try ManifestSource(library: file.path, embedded: image.manifest, sidecar: sidecar)
        let manifest: Manifest
        do throws(ManifestError) { manifest = try Manifest(source.bytes, file: source.name) } catch {
            throw StoreError(code: .badManifest, message: error.description)
        }
        let digest = combine(libraryDigest, SHA256.digest(source.bytes))
        try StoreDirectory.create("\(directory)/\(manifest.name)")
        if source.isSidecar { try store(source.bytes, at: path(manifest.name, digest, ".json")) }
        let stored = path(manifest.name, digest, ".so")
        if stored != file.path { try copy(file, stamp, libraryDigest, to: stored) }
        return Artifact(
            digest: digest, libraryDigest: libraryDigest, manifest: manifest, path: stored, image: image,
            warnings: warnings)
    }

    private func image(
        of file: borrowing StoredFile, _ stamp: FileStamp
    ) throws(StoreError) -> (ElfImage, warnings: [String]) {
        do throws(ElfError) {
            let image = try ElfImage(FileSource(descriptor: file.descriptor, size: stamp.size))
            return (image, try image.checkEntry())
        } catch {
            let code: StoreError.Code = error.code == .unreadable ? .input : .notAPlugin
            throw StoreError(code: code, message: "\(file.path): \(error.message)")
        }
    }

    private func sidecar(of path: String) throws(StoreError) -> (path: String, bytes: [UInt8])? {
        let path = ManifestSource.sidecarPath(of: path)
        guard access(path, F_OK) == 0 else { return nil }
        return (path, try StoredFile(reading: path).content(limit: Int(ElfImage.maximumSection)))
    }

    /// Copies unless the store has the very content already; what arrives must be what was checked.
    private func copy(
        _ file: borrowing StoredFile, _ stamp: FileStamp, _ expected: Digest, to path: String
    ) throws(StoreError) {
        if let existing = try? StoredFile(reading: path), try digest(of: existing, try existing.stamp()) == expected {
            return
        }
        var hash = SHA256()
        let target = try StoredFileReplacement(path, mode: 0o400)
        try file.forEachChunk { (chunk) throws(StoreError) in
            hash.update(chunk)
            try target.file.write(chunk)
        }
        state.withLock { $0.hashedBytes += stamp.size }
        guard hash.finish() == expected, try file.stamp() == stamp else {
            throw StoreError(
                code: .notStable, message: "\(file.path): it changed while it was copied; it is tried again")
        }
        try target.commit()
        let stored = try StoredFile(reading: path).stamp()
        state.withLock { $0.cache.remember(expected, for: stored) }
    }

    private func store(_ bytes: [UInt8], at path: String) throws(StoreError) {
        if let existing = try? StoredFile(reading: path), try existing.content(limit: bytes.count + 1) == bytes {
            return
        }
        let target = try StoredFileReplacement(path, mode: 0o400)
        try target.file.write(bytes)
        try target.commit()
    }

    private func digest(of file: borrowing StoredFile, _ stamp: FileStamp) throws(StoreError) -> Digest {
        if let known = state.withLock({ $0.cache.digest(for: stamp) }) { return known }
        let digest = try file.digest()
        guard try file.stamp() == stamp else {
            throw StoreError(code: .notStable, message: "\(file.path): it changed while it was read; it is tried again")
        }
        state.withLock { state in
            state.hashedBytes += stamp.size
            if stamp.isSettled { state.cache.remember(digest, for: stamp) }
        }
        return digest
    }

    private func combine(_ library: Digest, _ manifest: Digest) -> Digest {
        SHA256.digest(library.bytes + manifest.bytes)
    }

    private func path(_ name: String, _ digest: Digest, _ suffix: String) -> String {
        "\(directory)/\(name)/\(digest)\(suffix)"
    }
}
