import Glibc

/// What a library file says of itself, checked without running any of it and without keeping it.
package struct InspectedLibrary: Sendable {
    package let path: String
    package let manifest: Manifest
    /// Which generation this is: the digest of the library's and the manifest's digests, and of what else is in its folder.
    package let digest: Digest
    /// The library's own bytes, as they were before it was signed.
    let libraryDigest: Digest
    let image: ElfImage
    /// What is in its folder with it.
    let companions: Companions?
    package let warnings: [String]
    let layout: SignedLayout
    let source: ManifestSource
    /// Of this very plugin or not.
    package let signatures: [CheckedSignature]
    let block: SignatureBlock?

    package struct CheckedSignature: Sendable, Hashable {
        package let key: PublicKey
        package let isValid: Bool
    }

    /// The other files of a plugin that is a folder.
    struct Companions: Sendable {
        let digest: Digest
        let libraries: [PrivateLibrary]
    }

    /// Looks at a plugin, a library or a folder, that is no plugin of a host here.
    package init(_ path: String) throws(StoreError) {
        guard PluginFolder.isOne(path) else {
            try self.init(StoredFile(reading: path), nil)
            return
        }
        let folder = try PluginFolder(path)
        let digest = try folder.digest { (file) throws(StoreError) in try folder.open(file.path).digest() }
        try self.init(folder.open(folder.libraryName), (folder, digest))
    }

    private init(_ file: borrowing StoredFile, _ folder: (PluginFolder, Digest)?) throws(StoreError) {
        let size = try file.stamp().size
        let layout = SignedLayout(FileSource(descriptor: file.descriptor, size: size))
        try self.init(
            file, size, layout, try file.digest(of: layout), folder, sidecar: ManifestSource.sidecar(of: file.path),
            block: layout.block)
    }

    /// - Parameter block: what holds the signatures, from the file or from beside it.
    init(
        _ file: borrowing StoredFile, _ size: Int, _ layout: SignedLayout, _ libraryDigest: Digest,
        _ folder: (folder: PluginFolder, digest: Digest)?,
        sidecar: (path: String, bytes: [UInt8])?, block: [UInt8]?
    ) throws(StoreError) {
        path = file.path
        self.layout = layout
        self.libraryDigest = libraryDigest
        do throws(ElfError) {
            if let problem = layout.problem { throw problem }
            image = try ElfImage(LibrarySource(FileSource(descriptor: file.descriptor, size: size), layout))
            warnings = try image.checkEntry()
        } catch {
            let code: StoreError.Code =
                switch error.code {
                case .unreadable: .input
                case .badSignature: .badSignature
                default: .notAPlugin
                }
            throw StoreError(code: code, message: "\(file.path): \(error.message)")
        }
        source = try ManifestSource(library: file.path, embedded: image.manifest, sidecar: sidecar)
        do throws(ManifestError) { manifest = try Manifest(source.bytes, file: source.name) } catch {
            throw StoreError(code: .badManifest, message: error.description)
        }
        if let folder {
            companions = Companions(digest: folder.digest, libraries: try folder.folder.privateLibraries(of: image))
            guard manifest.name == folder.folder.name else {
                throw StoreError(
                    code: .badManifest,
                    message: "\(folder.folder.path): the plugin in it is called '\(manifest.name)'; call the folder "
                        + "\(manifest.name).knap and the library \(manifest.name).so")
            }
        } else {
            companions = nil
        }
        digest = SHA256.digest(
            libraryDigest.bytes + SHA256.digest(source.bytes).bytes + (companions?.digest.bytes ?? []))
        self.block = block.flatMap(SignatureBlock.init)
        if block != nil, self.block == nil {
            throw StoreError(
                code: .badSignature,
                message: "\(file.path): its section .knap.sig holds no signatures that this host knows; get the file again, "
                    + "or have it signed by 'knap plugins sign' of this version")
        }
        let entries = self.block?.entries ?? []
        let message = SignatureBlock.message(
            name: manifest.name, version: manifest.version, digest: digest, keys: entries.map(\.key))
        signatures = entries.map { entry in
            CheckedSignature(key: entry.key, isValid: entry.key.verifies(entry.signature, of: message))
        }
    }

    /// Who signed it. One signature that does not fit spoils the file, whatever else it holds: somebody changed it.
    package func signers() throws(StoreError) -> [PublicKey] {
        if let bad = signatures.first(where: { !$0.isValid }) {
            throw StoreError(
                code: .badSignature,
                message: "\(path): its signature by the key \(bad.key.fingerprint) does not fit: the library or its manifest was "
                    + "changed since, or the signature is another file's; get it again from its author")
        }
        return signatures.map(\.key)
    }
}

extension ManifestSource {
    /// The manifest beside a library, if there is one.
    static func sidecar(of library: String) throws(StoreError) -> (path: String, bytes: [UInt8])? {
        let path = sidecarPath(of: library)
        guard access(path, F_OK) == 0 else { return nil }
        return (path, try StoredFile(reading: path).content(limit: Int(ElfImage.maximumSection)))
    }
}
