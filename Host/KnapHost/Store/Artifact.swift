import KnapJSON

/// A plugin as the store holds it: checked, under a name that is its content.
package struct Artifact: Sendable {
    /// Which generation this is: the digest of the library's and the manifest's digests, and of what else is in its folder.
    package let digest: Digest
    package let libraryDigest: Digest
    /// Of a plugin that is a folder.
    package let folder: StoredFolder?
    /// Whose signatures fit it; whether anybody trusts them is another question.
    package let signers: [PublicKey]
    package let manifest: Manifest
    /// The library in the store; no other file has its inode.
    package let path: String
    /// What the library says of itself; the loader decides by it how to open.
    package let image: ElfImage
    /// What its author should mend.
    package let warnings: [String]

    /// All that is loaded when it is.
    var images: [ElfImage] { [image] + (folder?.libraries.map(\.image) ?? []) }

    /// What its code must be able to read.
    var readable: String { folder?.path ?? path }

    /// Where the store keeps its signatures: beside what is loaded, not in it.
    var signaturePath: String {
        let suffix = folder == nil ? ".so" : PluginFolder.suffix
        return String(readable.dropLast(suffix.utf8.count)) + ".sig"
    }
}

/// What a plugin that is a folder has beside its library, in the store.
package struct StoredFolder: Sendable {
    package let path: String
    /// Of all files but the plugin's library.
    let digest: Digest
    let libraries: [PrivateLibrary]
}

/// An artifact that was just checked again, open so that it stays what it is.
package struct VerifiedLibrary: ~Copyable {
    let file: StoredFile
    /// The copy in the store was damaged.
    package var wasRenewed: Bool
    /// For `dlopen`.
    package var path: String { file.path }
    package var descriptor: CInt { file.descriptor }
}

/// The manifest of a library: embedded, beside it, or both when they agree.
struct ManifestSource {
    let bytes: [UInt8]
    /// What messages call it.
    let name: String
    /// It must be stored too, because the library does not carry it.
    let isSidecar: Bool

    init(library: String, embedded: [UInt8]?, sidecar: (path: String, bytes: [UInt8])?) throws(StoreError) {
        switch (embedded, sidecar) {
        case (nil, nil):
            let beside = Self.sidecarPath(of: library)
            throw StoreError(
                code: .noManifest,
                message: "\(library): it has no manifest: embed one in the section .knap, or put \(beside) beside it")
        case (let embedded?, nil):
            self.init(bytes: embedded, name: "\(library) (section .knap)", isSidecar: false)
        case (nil, let sidecar?):
            self.init(bytes: sidecar.bytes, name: sidecar.path, isSidecar: true)
        case (let embedded?, let sidecar?):
            try Self.checkAgreement(library, embedded, sidecar)
            self.init(bytes: embedded, name: "\(library) (section .knap)", isSidecar: false)
        }
    }

    private init(bytes: [UInt8], name: String, isSidecar: Bool) {
        self.bytes = bytes
        self.name = name
        self.isSidecar = isSidecar
    }

    /// `NAME.json` for `NAME.so`.
    static func sidecarPath(of library: String) -> String {
        (library.hasSuffix(".so") ? String(library.dropLast(3)) : library) + ".json"
    }

    /// As values: how they are written does not matter.
    private static func checkAgreement(
        _ library: String, _ embedded: [UInt8], _ sidecar: (path: String, bytes: [UInt8])
    ) throws(StoreError) {
        let left = try parse(embedded, "\(library) (section .knap)")
        let right = try parse(sidecar.bytes, sidecar.path)
        guard let difference = JSONDifference.first(left, right) else { return }
        let show = { (json: JSON?) in json.map { String($0.serialized().prefix(80)) } ?? "nothing" }
        throw StoreError(
            code: .manifestsDiffer,
            message: "\(library): its embedded manifest and \(sidecar.path) differ at "
                + "'\(difference.pointer)': \(show(difference.left)) and \(show(difference.right)); remove one of the two"
        )
    }

    private static func parse(_ bytes: [UInt8], _ name: String) throws(StoreError) -> JSON {
        do throws(JSONParseError) { return try JSON.parse(bytes) } catch {
            throw StoreError(code: .badManifest, message: "\(name): \(error.description)")
        }
    }
}
