import Glibc

/// Signing a library file, for itself or for all of its folder.
package enum Signing {
    /// Signs with all of these keys together, in place of whatever signatures there are, and puts the file in place at once.
    /// The identity of the plugin stays what it was.
    package static func sign(_ path: String, with keys: [SigningKey]) throws(StoreError) -> InspectedLibrary {
        // A link stays one; what it leads to is signed.
        let path = realPath(path) ?? path
        let library = try InspectedLibrary(path)
        guard (1...SignatureBlock.maximumEntries).contains(keys.count), Set(keys.map(\.publicKey)).count == keys.count else {
            throw StoreError(
                code: .badSignature,
                message: "\(path): one to \(SignatureBlock.maximumEntries) keys can sign it, each once; these are \(keys.count)")
        }
        let message = SignatureBlock.message(
            name: library.manifest.name, version: library.manifest.version, digest: library.digest,
            keys: keys.map(\.publicKey))
        var entries: [SignatureBlock.Entry] = []
        do throws(KeyError) {
            for key in keys {
                entries.append(SignatureBlock.Entry(key: key.publicKey, signature: try key.signature(of: message)))
            }
        } catch {
            throw StoreError(code: .output, message: "\(path): \(error.message)")
        }
        try append(SignatureBlock(entries), to: library.path, library)
        return try InspectedLibrary(path)
    }

    /// Writes a library of the store to `target` as it was taken: with the signatures in this file, if there is one.
    static func restore(_ stored: String, signatures: String, to target: String) throws(StoreError) {
        let file = try StoredFile(reading: stored)
        let status = try file.status()
        let layout = SignedLayout(librarySize: Int(status.st_size), header: nil, block: nil, problem: nil)
        guard access(signatures, F_OK) == 0 else {
            let replacement = try StoredFileReplacement(target, mode: 0o644)
            try file.forEachChunk { (chunk) throws(StoreError) in try replacement.file.write(chunk) }
            return try replacement.commit()
        }
        let block = try StoredFile(reading: signatures).content(limit: Int(SignatureBlock.maximumSize))
        try write(file, layout, block, to: target, mode: 0o644) { () throws(StoreError) in }
    }

    private static func append(
        _ block: SignatureBlock, to path: String, _ library: InspectedLibrary
    ) throws(StoreError) {
        let file = try StoredFile(reading: path)
        let status = try file.status()
        let (descriptor, stamp) = (file.descriptor, FileStamp(status))
        guard try file.digest(of: library.layout) == library.libraryDigest else {
            throw StoreError(code: .notStable, message: "\(path): it changed while it was signed; try again")
        }
        try write(file, library.layout, block.bytes, to: path, mode: status.st_mode & 0o777) { () throws(StoreError) in
            var now = stat()
            guard fstat(descriptor, &now) == 0, FileStamp(now) == stamp else {
                throw StoreError(code: .notStable, message: "\(path): it changed while it was signed; try again")
            }
        }
    }

    /// Writes the library in a file with these signatures; `check` is asked before that takes its place.
    private static func write(
        _ file: borrowing StoredFile, _ layout: SignedLayout, _ block: [UInt8], to path: String, mode: mode_t,
        _ check: () throws(StoreError) -> Void
    ) throws(StoreError) {
        let appendix: SignedLayout.Appendix
        do throws(ElfError) {
            let source = LibrarySource(FileSource(descriptor: file.descriptor, size: layout.librarySize), layout)
            appendix = try SignedLayout.Appendix(to: source, block: block)
        } catch {
            throw StoreError(code: .notAPlugin, message: "\(file.path): \(error.message)")
        }
        let target = try StoredFileReplacement(path, mode: mode)
        let signed = SignedLayout(librarySize: layout.librarySize, header: appendix.header, block: nil, problem: nil)
        try file.forEachChunk(of: signed) { (chunk) throws(StoreError) in try target.file.write(chunk) }
        try target.file.write(appendix.bytes)
        try check()
        try target.commit()
    }
}
