import Glibc
import Synchronization

/// Where plugins are kept under the name of their content, and the only place they are loaded from.
///
/// A library in a drop directory is somebody else's: it can change while it is mapped (a SIGBUS), and `dlopen` gives back
/// the old one for the same path or inode. So it is checked, copied to `STATE/store/NAME/DIGEST.so` (a folder to
/// `DIGEST.knap`) with an inode of its own, and checked again before it is loaded. All calls block on the disk: make them on
/// a thread that may.
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
        StoreDirectory.removeUnfinished(in: directory)
        state = Mutex(State(cache: DigestCache(reading: directory + "/digests.json")))
    }

    /// How much was hashed by this store; nothing on a warm start.
    package var hashedBytes: Int { state.withLock { $0.hashedBytes } }

    /// Checks the library or folder at `path`, puts a copy into the store and says what it is.
    ///
    /// A content that failed is remembered by its digest: it fails again at once until its bytes change.
    package func take(_ path: String) throws(StoreError) -> Artifact {
        if PluginFolder.isOne(path) {
            let folder = try PluginFolder(path)
            let file = try folder.open(folder.libraryName)
            let stamp = try file.stamp()
            return try take(file, stamp, SignedLayout(FileSource(descriptor: file.descriptor, size: stamp.size)), folder)
        }
        let file = try StoredFile(reading: path)
        let stamp = try file.stamp()
        return try take(file, stamp, SignedLayout(FileSource(descriptor: file.descriptor, size: stamp.size)))
    }

    /// Opens an artifact for loading, after checking that it is still what was stored.
    package func open(_ artifact: Artifact) throws(StoreError) -> VerifiedLibrary {
        let file = try StoredFile(reading: artifact.path)
        var isIntact = try digest(of: file, try file.stamp()) == artifact.libraryDigest
        if let folder = artifact.folder {
            isIntact = try digest(of: PluginFolder(folder.path, name: artifact.manifest.name)) == folder.digest && isIntact
        }
        guard isIntact else {
            throw StoreError(
                code: .corrupted,
                message:
                    "\(artifact.readable): its content is no longer that of its name; remove it and drop the plugin again")
        }
        return VerifiedLibrary(file: file, wasRenewed: false)
    }

    /// The same; a copy that is damaged or gone is made anew first, if the file that it came from still has the content.
    package func open(_ artifact: Artifact, renewingFrom source: String) throws(StoreError) -> VerifiedLibrary {
        do throws(StoreError) { return try open(artifact) } catch {
            guard error.code == .corrupted || error.code == .input, source != artifact.path,
                (try? take(source))?.digest == artifact.digest
            else { throw error }
            var verified = try open(artifact)
            verified.wasRenewed = true
            return verified
        }
    }

    /// What the store holds of a plugin under a digest, checked as if it came from outside: for a start after a crash or
    /// a return to an older generation.
    package func stored(_ name: String, _ digest: Digest) throws(StoreError) -> Artifact {
        let place = path(name, digest, PluginFolder.suffix)
        let folder = access(place, F_OK) == 0 ? try PluginFolder(place, name: name) : nil
        let artifact =
            if let folder {
                try stored(folder.open(folder.libraryName), name, digest, folder)
            } else {
                try stored(StoredFile(reading: path(name, digest, ".so")), name, digest, nil)
            }
        guard artifact.digest == digest, artifact.manifest.name == name else {
            throw StoreError(
                code: .corrupted, message: "\(artifact.readable): its content is no longer that of its name")
        }
        return artifact
    }

    private func stored(
        _ file: borrowing StoredFile, _ name: String, _ digest: Digest, _ folder: PluginFolder?
    ) throws(StoreError) -> Artifact {
        let stamp = try file.stamp()
        // The signatures are not in what is loaded but beside it.
        let signatures = path(name, digest, ".sig")
        let block = access(signatures, F_OK) == 0 ? try StoredFile(reading: signatures).content(limit: 1 << 16) : nil
        return try take(file, stamp, SignedLayout(librarySize: stamp.size, header: nil, block: block, problem: nil), folder)
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
        _ file: borrowing StoredFile, _ stamp: FileStamp, _ layout: SignedLayout, _ folder: PluginFolder? = nil
    ) throws(StoreError) -> Artifact {
        guard stamp.size <= Self.maximumLibrary else {
            throw StoreError(code: .tooLarge, message: "\(file.path): it has \(stamp.size) bytes; 1 GiB is allowed")
        }
        let digest = try digest(of: file, stamp, layout)
        try file.checkUnchanged(since: stamp)
        let sidecar = try ManifestSource.sidecar(of: file.path)
        var held: (PluginFolder, Digest)?
        if let folder { held = (folder, try self.digest(of: folder)) }
        let content = SHA256.digest(
            digest.bytes + SHA256.digest(sidecar?.bytes ?? []).bytes + SHA256.digest(layout.block ?? []).bytes
                + (held?.1.bytes ?? []))
        if let reason = state.withLock({ $0.rejected[content] }) {
            throw StoreError(code: .rejectedBefore, message: reason.message)
        }
        do throws(StoreError) {
            let library = try InspectedLibrary(
                file, stamp.size, layout, digest, held, sidecar: sidecar, block: layout.block)
            try file.checkUnchanged(since: stamp)
            let signers = try library.signers()
            return try keep(library, signers, file, stamp, folder)
        } catch {
            if error.isFinal { state.withLock { $0.rejected[content] = error } }
            throw error
        }
    }

    /// Stores the library as it was before it was signed, so that what is loaded is byte for byte what was signed, and its
    /// signatures beside it.
    private func keep(
        _ library: InspectedLibrary, _ signers: [PublicKey], _ file: borrowing StoredFile, _ stamp: FileStamp,
        _ folder: PluginFolder?
    ) throws(StoreError) -> Artifact {
        let (manifest, digest) = (library.manifest, library.digest)
        try StoreDirectory.create("\(directory)/\(manifest.name)")
        if let block = library.block { try store(block.bytes, at: path(manifest.name, digest, ".sig")) }
        var stored = path(manifest.name, digest, ".so")
        var kept: StoredFolder?
        if let folder, let companions = library.companions {
            let target = path(manifest.name, digest, PluginFolder.suffix)
            if target != folder.path { try copy(folder, file, library, to: target) }
            stored = "\(target)/\(folder.libraryName)"
            kept = StoredFolder(path: target, digest: companions.digest, libraries: companions.libraries)
        } else {
            if library.source.isSidecar { try store(library.source.bytes, at: path(manifest.name, digest, ".json")) }
            if stored != file.path { try copy(file, stamp, library.layout, library.libraryDigest, to: stored) }
        }
        return Artifact(
            digest: digest, libraryDigest: library.libraryDigest, folder: kept, signers: signers, manifest: manifest,
            path: stored, image: library.image, warnings: library.warnings)
    }

    /// Copies a folder unless the store has the very content already; its library as it was before it was signed.
    private func copy(
        _ folder: PluginFolder, _ library: borrowing StoredFile, _ inspected: InspectedLibrary, to path: String
    ) throws(StoreError) {
        if let existing = try? PluginFolder(path, name: folder.name), let file = try? existing.open(folder.libraryName),
            try digest(of: file, try file.stamp()) == inspected.libraryDigest,
            try digest(of: existing) == inspected.companions?.digest
        {
            return
        }
        let target = try FolderReplacement(path)
        var digests: [String: Digest] = [:]
        for file in folder.companions {
            let source = try folder.open(file.path)
            let expected = try digest(of: source, file.stamp)
            digests[file.path] = expected
            try target.copy(source, nil, to: file.path, isExecutable: file.isExecutable, expected)
        }
        digests[folder.libraryName] = inspected.libraryDigest
        try target.copy(
            library, inspected.layout, to: folder.libraryName, isExecutable: true, inspected.libraryDigest)
        try folder.checkUnchanged()
        try target.commit()
        let stored = try PluginFolder(path, name: folder.name)
        state.withLock { state in
            state.hashedBytes += stored.files.reduce(0) { $0 + $1.stamp.size }
            for file in stored.files { if let digest = digests[file.path] { state.cache.remember(digest, for: file.stamp) } }
        }
    }

    private func digest(of folder: PluginFolder) throws(StoreError) -> Digest {
        try folder.digest { (file) throws(StoreError) in
            let open = try folder.open(file.path)
            return try digest(of: open, try open.stamp())
        }
    }

    /// Copies unless the store has the very content already; what arrives must be what was checked.
    private func copy(
        _ file: borrowing StoredFile, _ stamp: FileStamp, _ layout: SignedLayout, _ expected: Digest, to path: String
    ) throws(StoreError) {
        if let existing = try? StoredFile(reading: path), try digest(of: existing, try existing.stamp()) == expected {
            return
        }
        var hash = SHA256()
        let target = try StoredFileReplacement(path, mode: 0o400, step: "store")
        try file.forEachChunk(of: layout) { (chunk) throws(StoreError) in
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
        let target = try StoredFileReplacement(path, mode: 0o400, step: "beside")
        try target.file.write(bytes)
        try target.commit()
    }

    /// Of what was read, which is remembered for the stamp only if that still holds. Of a copy in the store it need not:
    /// the host gives it to a worker's user while another worker is started.
    private func digest(
        of file: borrowing StoredFile, _ stamp: FileStamp, _ layout: SignedLayout? = nil
    ) throws(StoreError) -> Digest {
        if let known = state.withLock({ $0.cache.digest(for: stamp) }) { return known }
        let digest = try file.digest(of: layout)
        let isKnown = try file.stamp() == stamp && stamp.isSettled
        state.withLock { state in
            state.hashedBytes += stamp.size
            if isKnown { state.cache.remember(digest, for: stamp) }
        }
        return digest
    }

    private func path(_ name: String, _ digest: Digest, _ suffix: String) -> String {
        "\(directory)/\(name)/\(digest)\(suffix)"
    }
}
